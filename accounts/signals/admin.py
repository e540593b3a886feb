"""Webhooks for support: seen by mobile number, never their secrets, and changed by their owners alone."""

import contextlib
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import phone
from accounts.signals.models import WebhookDelivery, WebhookEndpoint


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    show_full_result_count = False
    search_help_text = _("A mobile number or part of one")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        with contextlib.suppress(phone.InvalidMobile):  # 0912… as people write it; stored is +98912…
            search_term = phone.normalise(search_term)
        return super().get_search_results(request, queryset, search_term)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly):
    list_display = ("user", "host", "state", "failing_since", "created_at")
    list_filter = ("state",)
    list_select_related = ("user",)
    search_fields = ("user__mobile",)
    fields = (
        "user",
        "host",
        "events",
        "secret",
        "state",
        "disabled_because",
        "failing_since",
        "created_at",
        "previous_secret_until",
    )

    @admin.display(description=_("address"))
    def host(self, row: WebhookEndpoint) -> str:
        return row.shown_address

    @admin.display(description=_("secret"))
    def secret(self, row: WebhookEndpoint) -> str:
        return "whsec_…"


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly):
    list_display = ("event_name", "owner", "state", "attempts", "status", "error", "next_at", "queued_at")
    list_filter = ("state",)
    list_select_related = ("endpoint__user", "event")
    search_fields = ("endpoint__user__mobile",)
    ordering = ("-id",)
    fields = (
        "event_name",
        "event_id",
        "owner",
        "state",
        "queued_at",
        "attempts",
        "attempted_at",
        "next_at",
        "delivered_at",
        "status",
        "error",
    )

    @admin.display(description=_("event"))
    def event_name(self, row: WebhookDelivery) -> str:
        return row.event.event

    @admin.display(description=_("user"))
    def owner(self, row: WebhookDelivery) -> str:
        return str(row.endpoint.user)
