"""Users, the rights of admins and changes of numbers in the admin. Tiers give money: see `proxy.dashboard.tiers`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import (
    admins,
    audit_admin,  # noqa: F401 - the audit log's page
    blocking,
    number_changes,
    opening,
    phone,
)
from accounts.admin_models import Authenticator, NumberChange
from accounts.approval_admin import AskAndDecideAdmin, admin_id, may_touch, staff_only
from accounts.channels import admin as channels_admin  # noqa: F401 - the pages of bots and messages
from accounts.models import User
from accounts.person_admin import PersonActions, end_sessions
from accounts.read_only_admin import ReadOnlyAdmin
from accounts.shared.formats import datetime_text
from accounts.shared.paging import LongList
from accounts.signals import admin as signals_admin  # noqa: F401 - the pages of webhooks

MIN_PART = 3  # digits
PRIVILEGES = ("is_superuser", "groups", "user_permissions")


def has_number(searched: str) -> Q:
    """The account of a number, or those with that part of one; empty if it is shorter than MIN_PART, and so in nearly
    every number."""
    try:
        return Q(mobile=phone.normalise(searched))  # by an index in which each number stands once
    except phone.InvalidMobile:
        digits = phone.part(searched)
    return Q(mobile__contains=digits) if len(digits) >= MIN_PART else Q()


def clean_mobile(typed: str) -> str:
    """The number in E.164. Raises ValidationError."""
    try:
        return phone.normalise(typed)
    except phone.InvalidMobile:
        raise forms.ValidationError(
            _("This is not an Iranian mobile number. Enter it like 09121234567.")
        ) from None


@contextmanager
def watched(request: HttpRequest) -> Iterator[None]:
    if request.method == "POST":
        with admins.watched(by=User.objects.get(pk=admin_id(request))):
            yield
    else:
        yield


class WatchedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Pages that can give or take rights: new rights are noted, and all admins are told."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        with watched(request):
            return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with watched(request):
            return super().delete_view(request, object_id, extra_context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with watched(request):
            return super().changelist_view(request, extra_context)


class UserAddForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("mobile", "tier", "is_staff")

    def clean_mobile(self) -> str:
        return clean_mobile(self.cleaned_data["mobile"])


class UserEditForm(UserChangeForm):  # type: ignore[type-arg]
    password: Any = None  # set by its owner, or on the server

    class Meta:
        model = User
        fields = ("tier", "is_staff", *PRIVILEGES)


@admin.register(User)
class UserAdmin(LongList, WatchedAdmin, PersonActions, DjangoUserAdmin):  # type: ignore[type-arg]
    """An account is blocked; none is ever deleted, for its money's history names it.

    Its number is changed by a NumberChange; passwords and authenticators of others by nobody (`create_admin`).
    """

    add_form = UserAddForm
    form = UserEditForm
    add_fieldsets = ((None, {"fields": ["mobile", "tier", "is_staff"]}),)
    fieldsets = (
        (
            None,
            {
                "fields": [
                    "mobile",
                    "tier",
                    "is_active",
                    "joined_at",
                    "last_login",
                    "no_new_keys_until",
                    "gets_sms",
                    "messengers",
                ],
            },
        ),
        (
            _("Administration"),
            {
                "fields": ["is_staff", *PRIVILEGES, "empowered_at"],
                "description": _(
                    "An admin's password and authenticator are set on the server, with the command create_admin."
                ),
            },
        ),
    )
    readonly_fields = (
        "is_active",
        "joined_at",
        "last_login",
        "no_new_keys_until",
        "empowered_at",
        "gets_sms",
        "messengers",
    )
    list_display = ("mobile", "tier", "is_active", "is_staff", "joined_at")
    list_filter = ("tier", "is_staff", "is_active")
    list_select_related = ("tier",)
    search_fields = ("mobile",)
    search_help_text = _("A mobile number or part of one")
    ordering = ("-pk",)  # as they joined, and there is an index
    actions = ("block", "unblock", "end_sessions")
    filter_horizontal = ("groups", "user_permissions")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """By a number or a part of one."""
        if not search_term.strip():
            return queryset, False
        wanted = has_number(search_term)
        return (queryset.filter(wanted) if wanted else queryset.none()), False

    @admin.display(description=_("messengers"))
    def messengers(self, user: User) -> str:
        return (
            format_html_join(
                mark_safe("<br>"),
                "{}: {}",
                (
                    (
                        chat.get_channel_display(),
                        gettext("connected") if chat.chat_id is not None else gettext("ended"),
                    )
                    for chat in user.bot_chats.order_by("channel")
                ),
            )
            or "-"
        )

    @admin.action(description=_("Block: sign out, and stop all keys"), permissions=["block"])
    def block(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        for user in self._touchable(request, chosen.filter(is_active=True)):
            blocking.block(user_id=user.pk, author_id=admin_id(request), reason=gettext("chosen in the list"))

    @admin.action(description=_("Unblock"), permissions=["block"])
    def unblock(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        for user in self._touchable(request, chosen.filter(is_active=False)):
            blocking.unblock(
                user_id=user.pk, author_id=admin_id(request), reason=gettext("chosen in the list")
            )

    @admin.action(description=_("Sign out everywhere"), permissions=["end_sessions"])
    def end_sessions(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        for user in self._touchable(request, chosen):
            end_sessions(user)

    def _touchable(self, request: HttpRequest, chosen: QuerySet[User]) -> list[User]:
        """Of these, whom this admin may act on; says how many there are."""
        found = [user for user in chosen if may_touch(request, user)]
        if refused := chosen.count() - len(found):
            self.message_user(
                request,
                ngettext(
                    "%(count)d account was left: %(why)s", "%(count)d accounts were left: %(why)s", refused
                )
                % {"count": refused, "why": staff_only()},
                messages.ERROR,
            )
        if found:
            text = ngettext("%(count)d account was changed.", "%(count)d accounts were changed.", len(found))
            self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)
        return found

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Rights are for staff, and a customer's page does not list them all."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or _is_privileged(obj):
            return fieldsets
        administration: dict[str, Any] = {"fields": ["is_staff"]}
        if request.user.is_superuser:
            administration["description"] = _(
                "Groups and rights are given once the account is saved as staff."
            )
        return (*fieldsets[:-1], (_("Administration"), administration))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fields = list(super().get_readonly_fields(request, obj))
        if obj is not None:
            fields.append("mobile")
        return fields if request.user.is_superuser else [*fields, "is_staff", *PRIVILEGES]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_touch(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        raise PermissionDenied

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change:
            opening.furnish(user_id=obj.pk)


def _is_privileged(user: User) -> bool:
    """Also who was staff and left rights behind, which would be in force again with `is_staff`."""
    return user.is_staff or user.is_superuser or user.groups.exists() or user.user_permissions.exists()


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(WatchedAdmin, DjangoGroupAdmin):
    """For superusers only: an admin who may change a group could give its rights to themselves."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(request.user.is_superuser)


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else datetime_text(moment, language=get_language())


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Shows which admin has one, and since when. Only `create_admin` makes them, and shows the seed once."""

    list_display = ("owner", "made_at", "used_at")
    list_select_related = ("user",)
    fields = readonly_fields = list_display

    # django-otp has no Persian.
    @admin.display(description=_("user"), ordering="user__mobile")
    def owner(self, authenticator: Authenticator) -> str:
        return str(authenticator.user)

    @admin.display(description=_("created at"), ordering="created_at")
    def made_at(self, authenticator: Authenticator) -> str:
        return _moment(authenticator.created_at)

    @admin.display(description=_("last used at"), ordering="last_used_at")
    def used_at(self, authenticator: Authenticator) -> str:
        return _moment(authenticator.last_used_at)


class NumberChangeForm(forms.ModelForm):  # type: ignore[type-arg]
    request: HttpRequest  # set by AskAndDecideAdmin
    old = forms.CharField(
        label=_("Current number"),
        max_length=phone.MAX_TYPED_LENGTH,
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off", "dir": "ltr"}),
    )
    new = forms.CharField(
        label=_("New number"),
        max_length=phone.MAX_TYPED_LENGTH,
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off", "dir": "ltr"}),
    )

    class Meta:
        model = NumberChange
        fields = ("old", "new", "reason")

    def clean_old(self) -> str:
        """Also finds the account."""
        mobile = clean_mobile(self.cleaned_data["old"])
        user = User.objects.filter(mobile=mobile).first()
        if user is None:
            raise forms.ValidationError(_("No account has this number."))
        if not may_touch(self.request, user):
            raise forms.ValidationError(staff_only())
        if NumberChange.objects.filter(user=user, state=NumberChange.State.PENDING).exists():
            raise forms.ValidationError(_("A change of this number is already waiting."))
        self.instance.user = user
        return mobile

    def clean_new(self) -> str:
        mobile = clean_mobile(self.cleaned_data["new"])
        if User.objects.filter(mobile=mobile).exists():
            raise forms.ValidationError(taken())
        self.instance.new_mobile = mobile
        return mobile


def taken() -> str:
    return gettext("Another account has this number.")


@admin.register(NumberChange)
class NumberChangeAdmin(AskAndDecideAdmin):
    """A customer's new number: another admin approves it, and the old number gets an SMS."""

    approve_permission = "accounts.approve_numberchange"
    ask_form = NumberChangeForm
    ask_fields = NumberChangeForm.Meta.fields
    list_display = seen = (
        "created_at",
        "user",
        "old_mobile",
        "new_mobile",
        "reason",
        "state",
        "requested_by",
        "approved_by",
        "decided_at",
    )
    list_filter = ("state",)
    list_select_related = ("user", "requested_by", "approved_by")
    search_fields = ("old_mobile", "new_mobile")

    def save_model(self, request: HttpRequest, obj: NumberChange, form: Any, change: bool) -> None:
        obj.requested_by_id = admin_id(request)
        number_changes.request(change=obj)
        self.message_user(request, gettext("The change waits for the approval of a second admin."), "warning")

    def approve_row(self, pk: int, *, admin_id: int) -> None:
        number_changes.approve(change_id=pk, admin_id=admin_id)

    def reject_row(self, pk: int) -> None:
        number_changes.reject(change_id=pk)

    def owner_of(self, row: NumberChange) -> User:
        return row.user

    def own_refusal(self, error: Exception, row: NumberChange) -> str | None:
        return taken() if isinstance(error, number_changes.NumberTaken) else None
