"""Bots, chats and messages in the admin: read only."""

from django.contrib import admin

from accounts.channel_models import BotState, Notice
from accounts.read_only_admin import ReadOnlyAdmin


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
