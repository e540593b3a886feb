"""Tiers in the admin."""

from django.contrib import admin
from django.http import HttpRequest

from accounts.models import Tier


@admin.register(Tier)
class TierAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "rpm", "tpm", "concurrency", "is_default")

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        # One that users still have is protected by the database; the default one is needed by the next sign-in.
        return super().has_delete_permission(request, obj) and not (obj and obj.is_default)
