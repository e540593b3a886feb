"""The audit log in the admin: what was changed by whom and from where, and how sign-ins ended.

A role reads there what was done with rows that it may see; superusers and owners, who see how sign-ins ended, read all
of it. The log and the notes of sign-ins are evidence: nobody changes either.
"""

import contextlib
from datetime import timedelta
from typing import Any, ClassVar

from auditlog.admin import LogEntryAdmin
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from axes.models import AccessAttempt, AccessLog
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import audit, audit_csv, phone
from accounts.models import User
from accounts.read_only_admin import ReadOnlyAdmin
from accounts.shared import downloads, formats
from accounts.shared.paging import LongList

SIGN_INS_PERMISSION = "axes.view_accessattempt"

ACTIONS = {
    LogEntry.Action.CREATE: _("added"),
    LogEntry.Action.UPDATE: _("changed"),
    LogEntry.Action.DELETE: _("deleted"),
    LogEntry.Action.ACCESS: _("sign-in"),
}
NAMES_SHOWN = 4

admin.site.unregister(LogEntry)


class SinceFilter(admin.SimpleListFilter):
    """Days back from now, which are the same in every calendar."""

    title = _("time")
    parameter_name = "since"
    field = "attempt_time"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Last 24 hours")), ("7", _("Last 7 days")), ("30", _("Last 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = str(self.value() or "")
        if chosen not in {"1", "7", "30"}:
            return queryset
        return queryset.filter(**{f"{self.field}__gte": timezone.now() - timedelta(days=int(chosen))})


class LoggedSinceFilter(SinceFilter):
    field = "timestamp"


class ActionFilter(admin.SimpleListFilter):
    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(action), label) for action, label in ACTIONS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        chosen = str(self.value() or "")
        return queryset.filter(action=int(chosen)) if chosen.isdecimal() else queryset


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin):
    """Refused sign-ins that are still counted."""

    list_display = (
        "attempt_time", "username", "ip_address", "failures_since_start", "path_info", "user_agent",
    )  # fmt: skip
    list_filter = (SinceFilter,)
    search_fields = ("username", "ip_address", "user_agent")
    fields = (*list_display, "http_accept")


@admin.register(AccessLog)
class AccessLogAdmin(ReadOnlyAdmin):
    list_display = ("attempt_time", "username", "ip_address", "logout_time", "path_info", "user_agent")
    list_filter = (SinceFilter,)
    search_fields = ("username", "ip_address", "user_agent")
    fields = (*list_display, "http_accept")


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
    list_display = ["created", "row", "what", "msg_short", "by", "address"]  # noqa: RUF012
    list_filter = [LoggedSinceFilter, ActionFilter, SubjectFilter]  # noqa: RUF012
    date_hierarchy = None  # type: ignore[assignment]  # it knows the Gregorian calendar alone
    search_fields: ClassVar = ["object_repr", "changes", "actor__mobile", "remote_addr"]
    readonly_fields = ["time", "row", "what", "msg", "by", "address"]  # noqa: RUF012
    fieldsets = [(None, {"fields": [*readonly_fields]})]  # noqa: RUF012

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

    @admin.display(description=_("time"))
    def time(self, entry: LogEntry) -> str:
        return formats.datetime_text(entry.timestamp, language=get_language())

    @admin.display(description=_("row"))
    def row(self, entry: LogEntry) -> str:
        kind = entry.content_type.model_class()
        label = entry.content_type.name if kind is None else kind._meta.verbose_name
        name = _ltr(entry.object_repr)
        try:
            url = reverse(
                f"admin:{entry.content_type.app_label}_{entry.content_type.model}_change",
                args=[entry.object_pk],
            )
        except NoReverseMatch:
            return f"{label}: {name}"
        return format_html('{}: <a href="{}">{}</a>', label, url, name)

    @admin.display(description=_("action"), ordering="action")
    def what(self, entry: LogEntry) -> str:
        return str(ACTIONS[entry.action])

    @admin.display(description=_("admin"), ordering="actor")
    def by(self, entry: LogEntry) -> str:
        return gettext("the system") if entry.actor is None else str(entry.actor)

    @admin.display(description=_("address"))
    def address(self, entry: LogEntry) -> str:
        return _ltr(entry.remote_addr) if entry.remote_addr else "-"

    @admin.display(description=_("changes"))
    def msg_short(self, entry: LogEntry) -> str:
        """How a sign-in ended, or which columns were changed."""
        if entry.action == LogEntry.Action.ACCESS:
            return ", ".join(f"{what}: {after}" for what, (_before, after) in entry.changes_dict.items())
        changed = list(entry.changes_dict)
        more = len(changed) - NAMES_SHOWN
        shown = _ltr(", ".join(changed[:NAMES_SHOWN]))
        if entry.action == LogEntry.Action.DELETE or not changed:
            return "-"
        if more <= 0:
            return shown
        number = formats.number_text(more, language=get_language())
        return ngettext("%(names)s and %(more)s more", "%(names)s and %(more)s more", more) % {
            "names": shown,
            "more": number,
        }


def _ltr(text: str) -> str:
    return formats.ltr_text(text, language=get_language())


def models() -> list[type[Model]]:
    """Those whose changes are logged by themselves."""
    return auditlog.get_models()  # type: ignore[return-value]  # theirs says ModelBase


def _sees_all(request: HttpRequest) -> bool:
    return request.user.has_perm(SIGN_INS_PERMISSION)


def _sees(request: HttpRequest, model: type[Model]) -> bool:
    codename = get_permission_codename("view", model._meta)
    return request.user.has_perm(f"{model._meta.app_label}.{codename}")
