"""The work behind in the admin: read only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.read_only_admin import ReadOnlyAdmin
from accounts.shared.formats import datetime_text, figure_text
from config import task_watch
from config.models import TaskRun


def _time(field: str) -> Any:
    """A column of a time, by the calendar of the page."""

    @admin.display(
        description=TaskRun._meta.get_field(field).verbose_name,  # type: ignore[union-attr]
        ordering=field,
    )
    def column(run: TaskRun) -> str:
        moment = getattr(run, field)
        return "-" if moment is None else datetime_text(moment, language=get_language())

    column.__name__ = field
    return column


def _seconds(field: str) -> Any:
    @admin.display(
        description=TaskRun._meta.get_field(field).verbose_name,  # type: ignore[union-attr]
        ordering=field,
    )
    def column(run: TaskRun) -> str:
        seconds = getattr(run, field)
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
        return str(task_watch.STATES[task_watch.state(run, now=timezone.now())])

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        known = set(TaskRun.objects.values_list("name", flat=True))
        own = {
            "standstill": task_watch.standstill(),
            "never_run": sorted(set(task_watch.scheduled()) - known),
        }
        return super().changelist_view(request, {**own, **(extra_context or {})})
