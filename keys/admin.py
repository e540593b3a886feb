"""Keys for admins: found by mobile number, last four or their number, revoked, never made or changed."""

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import audit, sessions
from accounts.admin import has_number
from accounts.models import User
from accounts.read_only_admin import ReadOnlyAdmin
from keys import hints, lifecycle
from keys.actors import Actor, Kind
from keys.models import APIKey


@admin.register(APIKey)
class APIKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "last_four", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("user",)
    search_fields = ("last_four",)  # makes the box appear; get_search_results says what it finds
    search_help_text = _("A mobile number or part of one, the last four of a key, or a key's number")
    fields = (
        "user",
        "kind",
        "name",
        "last_four",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
        "replaces",
        "allowed_models",
        "allowed_networks",
        "rpm",
        "tpm",
        "concurrency",
        "budget_id",
    )
    actions = ("revoke_selected",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[APIKey], search_term: str
    ) -> tuple[QuerySet[APIKey], bool]:
        """What indexes find: one condition over two tables would read all keys."""
        if not search_term.strip():
            return queryset, False
        wanted = hints.is_meant(search_term)
        if of_number := has_number(search_term):
            people = User.objects.filter(of_number).order_by("-pk")
            wanted |= Q(user_id__in=list(people.values_list("pk", flat=True)[: hints.OWNERS_MAX]))
        return (queryset.filter(wanted) if wanted else queryset.none()), False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("keys.change_apikey")

    @admin.action(description=_("Revoke selected keys"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        if not request.user.is_superuser:
            queryset = queryset.exclude(user__is_staff=True)  # staff cannot touch staff
        keys = list(queryset)
        by = Actor(Kind.STAFF, user_id=request.user.pk, address=sessions.address_of(request))
        for key in keys:
            with transaction.atomic():
                lifecycle.revoke(user_id=key.user_id, key_id=key.pk, by=by)
                audit.note(key, what="key", after="revoked")
        messages.success(
            request,
            ngettext("%(count)d key revoked.", "%(count)d keys revoked.", len(keys)) % {"count": len(keys)},
        )
