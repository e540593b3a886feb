"""Webhooks for support: seen by mobile number, never their secrets, and changed by their owners alone."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.read_only_admin import ReadOnlyAdmin
from accounts.signals.models import WebhookDelivery, WebhookEndpoint


class Searched(ReadOnlyAdmin):
    search_help_text = _("A mobile number or part of one")


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(Searched):
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
class WebhookDeliveryAdmin(Searched):
    list_display = ("event_name", "owner", "state", "attempts", "status", "error", "next_at", "queued_at")
    list_filter = ("state",)
    list_select_related = ("endpoint__user", "event")
    search_fields = ("endpoint__user__mobile",)
    ordering = ("-id",)
    fields = (
        "event_name",
        "event_key",
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

    @admin.display(description=_("ID of the event"))
    def event_key(self, row: WebhookDelivery) -> str:
        return str(row.event_id)

    @admin.display(description=_("user"))
    def owner(self, row: WebhookDelivery) -> str:
        return str(row.endpoint.user)
