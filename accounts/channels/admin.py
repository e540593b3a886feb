"""Bots, messages and one-time codes in the admin: read only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.channel_models import BotState, MessageCount, Notice
from accounts.message_counts import OUTCOME_OF_CODE
from accounts.models import Challenge
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


class OutcomeFilter(admin.SimpleListFilter):
    title = _("outcome")
    parameter_name = "ended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in MessageCount.CodeOutcome.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Challenge]) -> QuerySet[Challenge]:
        ended = self.value()
        return queryset if ended is None else queryset.annotate(ended=OUTCOME_OF_CODE).filter(ended=ended)


@admin.register(Challenge)
class ChallengeAdmin(ReadOnlyAdmin):
    """To whom one was sent in the last two or three days, and whether it was entered. The codes are not kept."""

    list_display = ("created_at", "mobile", "outcome", "tries", "address", "is_known_browser")
    list_filter = (OutcomeFilter,)
    search_fields = ("mobile",)
    search_help_text = _("A mobile number or part of one")
    ordering = ("-created_at",)
    fields = readonly_fields = (
        "mobile", "outcome", "tries", "address", "is_known_browser", "created_at", "expires_at", "voided_at",
        "consumed_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Challenge]:
        found: QuerySet[Challenge] = super().get_queryset(request)
        return found.annotate(ended=OUTCOME_OF_CODE)

    @admin.display(description=_("outcome"))
    def outcome(self, code: Any) -> str:
        return str(MessageCount.CodeOutcome(code.ended).label)
