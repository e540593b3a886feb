"""The work behind in the admin: read only."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.read_only_admin import ReadOnlyAdmin
from accounts.shared.formats import date_text, datetime_text, figure_text
from config.models import Proof, TaskRun
from config.tasks import watch
from wallet.wording import toman


def _time(field: str, model: type[Model] = TaskRun) -> Any:
    """A column of a time, by the calendar of the page."""

    @admin.display(
        description=model._meta.get_field(field).verbose_name,  # type: ignore[union-attr]
        ordering=field,
    )
    def column(row: Model) -> str:
        moment = getattr(row, field)
        return "-" if moment is None else datetime_text(moment, language=get_language())

    column.__name__ = field
    return column


def _seconds(field: str, model: type[Model] = TaskRun) -> Any:
    @admin.display(
        description=model._meta.get_field(field).verbose_name,  # type: ignore[union-attr]
        ordering=field,
    )
    def column(row: Model) -> str:
        seconds = getattr(row, field)
        if seconds is None:
            return "-"
        return _("%(seconds)s s") % {"seconds": figure_text(f"{seconds:,.2f}", language=get_language())}

    column.__name__ = field
    return column


@admin.register(TaskRun)
class TaskRunAdmin(ReadOnlyAdmin):
    """Each task of the schedule: when it last ran, how long and how late, and how it ended."""

    list_display = (
        "name",
        "state",
        _time("began_at"),
        _time("succeeded_at"),
        _seconds("seconds"),
        _seconds("lag_seconds"),
        "runs",
        "failures",
        "failures_in_row",
        "last_error",
    )
    fields = readonly_fields = (*list_display, _time("ended_at"), _time("failed_at"))
    ordering = ("name",)
    change_list_template = "admin/config/taskrun/change_list.html"

    @admin.display(description=_("state"))
    def state(self, run: TaskRun) -> str:
        return str(watch.STATES[watch.state(run, now=timezone.now())])

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        known = set(TaskRun.objects.values_list("name", flat=True))
        own = {
            "standstill": watch.standstill(),
            "never_run": sorted(set(watch.scheduled()) - known),
        }
        return super().changelist_view(request, {**own, **(extra_context or {})})


@admin.register(Proof)
class ProofAdmin(ReadOnlyAdmin):
    """Whether the books of each day add up, and what was wrong where they do not."""

    list_display = (
        "day",
        "result",
        "faults",
        "records",
        "billed",
        "booked",
        "upstream_cost",
        _time("made_at", Proof),
        _seconds("seconds", Proof),
    )
    fields = readonly_fields = (*list_display, "rules", "said")
    ordering = ("-since",)

    @admin.display(description=_("day"), ordering="since")
    def day(self, proof: Proof) -> str:
        return date_text(proof.since, language=get_language())

    @admin.display(description=_("adds up"), boolean=True)
    def result(self, proof: Proof) -> bool:
        return not proof.faults

    @admin.display(description=Proof._meta.get_field("cost_micro").verbose_name)
    def billed(self, proof: Proof) -> str:
        return toman(proof.cost_micro)

    @admin.display(description=Proof._meta.get_field("booked_micro").verbose_name)
    def booked(self, proof: Proof) -> str:
        return toman(proof.booked_micro)

    @admin.display(description=_("upstreams' cost"))
    def upstream_cost(self, proof: Proof) -> str:
        dollars = figure_text(f"{proof.upstream_cost_nanodollars / 10**9:,.2f}", language=get_language())
        return _("%(rial)s and %(dollars)s US dollars") % {
            "rial": toman(proof.upstream_cost_micro),
            "dollars": dollars,
        }
