"""Usage records for admins: to find and to read."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.phone import InvalidMobile, normalise
from accounts.shared.digits import ascii_digits
from accounts.shared.formats import figure_text
from accounts.shared.paging import LongList
from proxy.catalogue.endpoints import ENDPOINTS
from proxy.catalogue.price_admin import AddOnly
from proxy.usage import lookup
from proxy.usage.models import UsageRecord
from wallet.money import micro_from_rial
from wallet.wording import toman

BIGINT_DIGITS = 18


class EndpointFilter(admin.SimpleListFilter):
    """Django's own would read all records for the names that stand there."""

    title = _("endpoint")
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in ENDPOINTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        return queryset if self.value() is None else queryset.filter(endpoint=self.value())


class PeriodFilter(admin.SimpleListFilter):
    """The last month where nothing else is asked for: few of the partitions."""

    title = _("time")
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("year", _("Last 12 months")), ("all", _("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("Last 31 days")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        days = {None: 31, "year": 366}.get(self.value())
        return (
            queryset
            if days is None
            else queryset.filter(created_at__gte=timezone.now() - timedelta(days=days))
        )


@admin.register(UsageRecord)
class UsageRecordAdmin(LongList, AddOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "created_at",
        "user_id",
        "key_id",
        "model",
        "endpoint",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "outcome",
        "billed_by",
    )
    readonly_fields = (
        "cost",
        "uncovered",
        "upstream_cost",
        "input_price",
        "output_price",
        "cached_input_price",
    )
    exclude = (
        "cost_micro",
        "uncovered_micro",
        "upstream_cost_micro",
        "upstream_cost_nanodollars",
        "input_rial_per_million",
        "output_rial_per_million",
        "cached_input_rial_per_million",
    )
    list_filter = (PeriodFilter, "outcome", "billed_by", EndpointFilter)
    ordering = ("-id",)  # ids carry the time of the request, and have the index for it
    search_fields = ("user_id",)  # makes the box appear; get_search_results says what it finds
    search_help_text = _("Mobile number, user id or key id")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> UsageRecord | None:
        try:
            return lookup.find(UUID(object_id))
        except ValueError:
            return None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("cost"))
    def cost(self, record: UsageRecord) -> str:
        return toman(record.cost_micro)

    @admin.display(description=_("uncovered"))
    def uncovered(self, record: UsageRecord) -> str:
        return toman(record.uncovered_micro)

    @admin.display(description=_("upstream's cost"))
    def upstream_cost(self, record: UsageRecord) -> str:
        """In both: what it charges, and that by the rate of the day."""
        if record.upstream_cost_micro is None:
            return "-"
        rial = toman(record.upstream_cost_micro)
        if record.upstream_cost_nanodollars is None:
            return rial
        figure = f"{Decimal(record.upstream_cost_nanodollars).scaleb(-9):,f}"
        return _("%(rial)s and %(dollars)s US dollars") % {
            "rial": rial,
            "dollars": figure_text(figure, language=get_language()),
        }

    @admin.display(description=_("input, per million tokens"))
    def input_price(self, record: UsageRecord) -> str:
        return toman(micro_from_rial(record.input_rial_per_million))

    @admin.display(description=_("output, per million tokens"))
    def output_price(self, record: UsageRecord) -> str:
        return toman(micro_from_rial(record.output_rial_per_million))

    @admin.display(description=_("cached input, per million tokens"))
    def cached_input_price(self, record: UsageRecord) -> str:
        return toman(micro_from_rial(record.cached_input_rial_per_million))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord], search_term: str
    ) -> tuple[QuerySet[UsageRecord], bool]:
        term = ascii_digits(search_term.strip())
        if not term:
            return queryset, False
        try:
            return queryset.filter(
                user_id__in=User.objects.filter(mobile=normalise(term)).values("pk")
            ), False
        except InvalidMobile:
            pass
        if term.isdecimal() and len(term) <= BIGINT_DIGITS:
            return queryset.filter(Q(user_id=int(term)) | Q(key_id=int(term))), False
        return queryset.none(), False
