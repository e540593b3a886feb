"""The audit log in the admin: what was changed by whom and from where, and how sign-ins ended.

A role reads there what was done with rows that it may see; superusers and owners, who see how sign-ins ended, read all
of it. The log and the notes of sign-ins are evidence: nobody changes either.
"""

import contextlib
from typing import Any, ClassVar

from auditlog.admin import LogEntryAdmin
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from axes.admin import AccessAttemptAdmin, AccessFailureLogAdmin, AccessLogAdmin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from accounts import audit, audit_csv, phone
from accounts.models import User
from accounts.read_only_admin import ReadOnlyAdmin
from accounts.shared import downloads
from accounts.shared.paging import LongList

THEIRS: Any = LogEntryAdmin.msg_short
SIGN_INS_PERMISSION = "axes.view_accessattempt"

for model, shown in {
    AccessAttempt: AccessAttemptAdmin,
    AccessFailureLog: AccessFailureLogAdmin,
    AccessLog: AccessLogAdmin,
}.items():
    admin.site.unregister(model)
    admin.site.register(model, type(shown.__name__, (ReadOnlyAdmin, shown), {"actions": ()}))

admin.site.unregister(LogEntry)


class SubjectFilter(admin.SimpleListFilter):
    """django-auditlog's own would read the whole log for the kinds of rows that stand there."""

    title = _("kind of row")
    parameter_name = "resource_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(
            (
                (str(ContentType.objects.get_for_model(model).pk), str(model._meta.verbose_name))
                for model in models()
                if _sees_all(request) or _sees(request, model)
            ),
            key=lambda choice: choice[1],
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        chosen = str(self.value() or "")
        return queryset.filter(content_type_id=int(chosen)) if chosen.isdecimal() else queryset


@admin.register(LogEntry)
class AuditLogAdmin(LongList, LogEntryAdmin):
    """django-auditlog's own looks for names that our users do not have, and shows no addresses."""

    # Instance variables to the parent's types.
    list_display = ["created", "resource_url", "action", "msg_short", "user_url", "address"]  # noqa: RUF012
    list_filter = ["action", SubjectFilter]  # noqa: RUF012
    search_fields: ClassVar = ["object_repr", "changes", "actor__mobile", "remote_addr"]
    readonly_fields = [*LogEntryAdmin.readonly_fields, "address"]  # noqa: RUF012
    fieldsets = [  # noqa: RUF012
        (None, {"fields": ["created", "user_url", "resource_url", "address"]}),
        LogEntryAdmin.fieldsets[1],
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        entries: QuerySet[LogEntry] = super().get_queryset(request)  # type: ignore[no-untyped-call]
        if _sees_all(request):
            return entries
        seen = [model for model in models() if _sees(request, model)]
        types = ContentType.objects.get_for_models(*seen).values()
        return entries.filter(content_type__in=types).exclude(action=LogEntry.Action.ACCESS)

    def get_urls(self) -> list[Any]:
        csv = path("csv/", self.admin_site.admin_view(self.csv), name="auditlog_logentry_csv")
        return [csv, *super().get_urls()]

    def csv(self, request: HttpRequest) -> HttpResponseBase:
        """What the page lists with the same filters and search, all of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            listed = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:auditlog_logentry_changelist"))
        assert isinstance(request.user, User), "the admin site lets nobody else in"
        audit.note(request.user, what="audit log exported", after=request.GET.urlencode() or "all of it")
        return downloads.csv_response(audit_csv.chunks(listed.queryset), filename="audit-log.csv")

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


def models() -> list[type[Model]]:
    """Those whose changes are logged by themselves."""
    return auditlog.get_models()  # type: ignore[return-value]  # theirs says ModelBase


def _sees_all(request: HttpRequest) -> bool:
    return request.user.has_perm(SIGN_INS_PERMISSION)


def _sees(request: HttpRequest, model: type[Model]) -> bool:
    codename = get_permission_codename("view", model._meta)
    return request.user.has_perm(f"{model._meta.app_label}.{codename}")
