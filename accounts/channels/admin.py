"""Bots, chats and messages in the admin: read only."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from accounts.channel_models import BotState, Notice


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(BotState)
class BotStateAdmin(ReadOnlyAdmin):
    """Whether each bot works. Its token is in the settings."""

    list_display = fields = ("channel", "username", "problem", "asked_at", "paused_until")


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    """Who was told what by which channel; never the words."""

    list_display = fields = ("created_at", "user", "event", "channel", "outcome", "tries")
    list_filter = ("channel", "outcome", "event")
    list_select_related = ("user",)
    search_fields = ("user__mobile",)
    ordering = ("-pk",)
    show_full_result_count = False
