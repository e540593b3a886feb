"""The audit log in the admin: what was changed by whom and from where, and how sign-ins ended."""

import contextlib
from typing import Any, ClassVar

from auditlog.admin import LogEntryAdmin
from auditlog.models import LogEntry
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import phone

THEIRS: Any = LogEntryAdmin.msg_short
admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class AuditLogAdmin(LogEntryAdmin):
    """django-auditlog's own looks for names that our users do not have, and shows no addresses."""

    # Instance variables to the parent's types.
    list_display = ["created", "resource_url", "action", "msg_short", "user_url", "address"]  # noqa: RUF012
    search_fields: ClassVar = ["object_repr", "changes", "actor__mobile", "remote_addr"]
    readonly_fields = [*LogEntryAdmin.readonly_fields, "address"]  # noqa: RUF012
    fieldsets = [  # noqa: RUF012
        (None, {"fields": ["created", "user_url", "resource_url", "address"]}),
        LogEntryAdmin.fieldsets[1],
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        with contextlib.suppress(phone.InvalidMobile):  # 0912… as people write it; stored is +98912…
            search_term = phone.normalise(search_term)
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=LogEntry._meta.get_field("remote_addr").verbose_name)
    def address(self, entry: LogEntry) -> str:
        """Isolated from left to right, or a Persian page turns 2001:db8::1 round."""
        return f"\u2066{entry.remote_addr}\u2069" if entry.remote_addr else "-"

    @admin.display(description=THEIRS.short_description)
    def msg_short(self, entry: LogEntry) -> str:
        if entry.action == LogEntry.Action.ACCESS:
            return ", ".join(f"{what}: {after}" for what, (_before, after) in entry.changes_dict.items())
        return str(THEIRS(self, entry))
