"""Usage records for admins: to find and to read."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.phone import InvalidMobile, normalise
from accounts.shared.digits import ascii_digits
from proxy.catalogue.endpoints import ENDPOINTS
from proxy.catalogue.price_admin import AddOnly
from proxy.usage import lookup
from proxy.usage.models import UsageRecord

BIGINT_DIGITS = 18


class EndpointFilter(admin.SimpleListFilter):
    """Django's own would read all records for the names that stand there."""

    title = _("endpoint")
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in ENDPOINTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        return queryset if self.value() is None else queryset.filter(endpoint=self.value())


@admin.register(UsageRecord)
class UsageRecordAdmin(AddOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "created_at",
        "user_id",
        "key_id",
        "model",
        "endpoint",
        "prompt_tokens",
        "completion_tokens",
        "cost_micro",
        "outcome",
        "billed_by",
    )
    list_filter = ("outcome", "billed_by", EndpointFilter)
    ordering = ("-id",)  # ids carry the time of the request, and have the index for it
    search_fields = ("user_id",)  # makes the box appear; get_search_results says what it finds
    search_help_text = _("Mobile number, user id or key id")
    show_full_result_count = False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> UsageRecord | None:
        try:
            return lookup.find(UUID(object_id))
        except ValueError:
            return None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

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
