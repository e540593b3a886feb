"""Keys for admins: found by mobile number or last four, revoked, never made or changed."""

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import audit, sessions
from accounts.read_only_admin import ReadOnlyAdmin
from keys import lifecycle
from keys.actors import Actor, Kind
from keys.models import APIKey


@admin.register(APIKey)
class APIKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "last_four", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("user",)
    search_fields = ("user__mobile", "last_four", "name")
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
