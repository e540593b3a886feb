"""Tiers and users in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import opening, phone
from accounts.models import Tier, User

PRIVILEGES = ("is_superuser", "groups", "user_permissions")


@admin.register(Tier)
class TierAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "rpm", "tpm", "concurrency", "account_factor", "is_default")

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        # One that users still have is protected by the database; the default one is needed by the next sign-in.
        return super().has_delete_permission(request, obj) and not (obj and obj.is_default)


class MobileFormMixin(forms.ModelForm):  # type: ignore[type-arg]
    def clean_mobile(self) -> str:
        try:
            return phone.normalise(self.cleaned_data["mobile"])
        except phone.InvalidMobile:
            raise forms.ValidationError(
                _("This is not an Iranian mobile number. Enter it like 09121234567.")
            ) from None


class UserAddForm(MobileFormMixin):
    class Meta:
        model = User
        fields = ("mobile", "tier", "is_staff")


class UserEditForm(MobileFormMixin, UserChangeForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("mobile", "tier", "is_active", "is_staff", "password", *PRIVILEGES)


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """An account is closed by taking `active` away; none is ever deleted, for its money's history names it."""

    add_form = UserAddForm
    form = UserEditForm
    add_fieldsets = ((None, {"fields": ["mobile", "tier", "is_staff"]}),)
    fieldsets = (
        (None, {"fields": ["mobile", "tier", "is_active", "joined_at", "last_login"]}),
        (_("Administration"), {"fields": ["is_staff", "password", *PRIVILEGES]}),
    )
    readonly_fields = ("joined_at", "last_login")
    list_display = ("mobile", "tier", "is_active", "is_staff", "joined_at")
    list_filter = ("tier", "is_staff", "is_active")
    list_select_related = ("tier",)
    search_fields = ("mobile",)
    search_help_text = _("A mobile number, or a part of one")
    ordering = ("-joined_at",)
    filter_horizontal = ("groups", "user_permissions")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        digits = phone.ascii_digits(search_term).strip()
        if digits.startswith("0"):  # 0912… as people write it; stored is +98912…
            digits = digits.removeprefix("00").removeprefix("0")
        return super().get_search_results(request, queryset, digits)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fields = list(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else [*fields, "is_staff", *PRIVILEGES]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        allowed = super().has_change_permission(request, obj)
        return allowed and (request.user.is_superuser or not (obj and obj.is_superuser))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change:
            opening.furnish(user_id=obj.pk)
