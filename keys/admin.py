"""Keys for admins: found by mobile number or last four, revoked, never made or changed."""

import contextlib

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import phone, sessions
from keys import lifecycle
from keys.actors import Actor, Kind
from keys.models import APIKey


@admin.register(APIKey)
class APIKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
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
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("keys.change_apikey")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[APIKey], search_term: str
    ) -> tuple[QuerySet[APIKey], bool]:
        with contextlib.suppress(phone.InvalidMobile):  # 0912… as people write it; stored is +98912…
            search_term = phone.normalise(search_term)
        return super().get_search_results(request, queryset, search_term)

    @admin.action(description=_("Revoke selected keys"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        if not request.user.is_superuser:
            queryset = queryset.exclude(user__is_staff=True)  # staff cannot touch staff
        keys = list(queryset.values_list("user_id", "pk"))
        by = Actor(Kind.STAFF, user_id=request.user.pk, address=sessions.address_of(request))
        for user_id, key_id in keys:
            lifecycle.revoke(user_id=user_id, key_id=key_id, by=by)
        messages.success(
            request,
            ngettext("%(count)d key revoked.", "%(count)d keys revoked.", len(keys)) % {"count": len(keys)},
        )
