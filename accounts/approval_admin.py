"""What admin pages share where one admin asks and another decides, by actions of the list."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import approvals
from accounts.models import User
from accounts.shared import formats


def admin_id(request: HttpRequest) -> int:
    assert request.user.pk is not None, "the admin site lets nobody else in"
    return int(request.user.pk)


def may_touch(request: HttpRequest, user: User) -> bool:
    """Staff cannot touch staff: only a superuser acts on the account or the wallet of an admin."""
    return bool(request.user.is_superuser) or not user.is_staff


def refusal(error: Exception) -> str | None:
    """Why an approval was refused, for people; None: it is none of the refusals that all approvals have."""
    match error:
        case approvals.AlreadyDecided():
            return gettext("It has already been approved or rejected.")
        case approvals.NeedsSecondAdmin():
            return gettext("You asked for it yourself; another admin has to approve it.")
        case approvals.TooNew(since=since):
            language = get_language()
            return gettext(
                "You were given rights, a password or an authenticator within the last %(hours)s hours, so you cannot "
                "approve anything yet. You can from %(since)s on."
            ) % {
                "hours": formats.number_text(approvals.SETTLING_HOURS, language=language),
                "since": formats.datetime_text(since, language=language),
            }
    return None


class AskAndDecideAdmin(ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Rows are requests and never edited; an admin with `approve_permission` approves or rejects them.

    Subclasses say in `approve_row` and `reject_row` what that is, in `owner_of` whose account it is about, and in
    `own_refusal` which exceptions are refusals of their own.
    """

    approve_permission = ""
    ask_fields: tuple[str, ...] = ()
    ask_form: Any = None
    seen: tuple[str, ...] = ()
    actions = ("approve", "reject")
    show_full_result_count = False

    def approve_row(self, pk: Any, *, admin_id: int) -> None:
        raise NotImplementedError

    def reject_row(self, pk: Any) -> None:
        raise NotImplementedError

    def owner_of(self, row: Any) -> User | None:
        return None

    def own_refusal(self, error: Exception, row: Any) -> str | None:
        return None

    def decided_text(self, count: int) -> str:
        text = ngettext("%(count)d request was decided.", "%(count)d requests were decided.", count)
        return text % {"count": count}

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.seen if obj else self.ask_fields

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.seen if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change=change, **kwargs)
        form: Any = super().get_form(request, obj, change=change, **{**kwargs, "form": self.ask_form})
        form.request = request
        return form

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.approve_permission))

    @admin.action(description=_("Approve"), permissions=["approve"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._decide(request, queryset, lambda pk: self.approve_row(pk, admin_id=admin_id(request)))

    @admin.action(description=_("Reject"), permissions=["approve"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._decide(request, queryset, self.reject_row)

    def _decide(self, request: HttpRequest, rows: Iterable[Any], decide: Callable[[Any], None]) -> None:
        done = 0
        for row in rows:
            owner = self.owner_of(row)
            if owner is not None and not may_touch(request, owner):
                why: str | None = staff_only()
            else:
                try:
                    decide(row.pk)
                except Exception as error:
                    why = self.own_refusal(error, row) or refusal(error)
                    if why is None:
                        raise
                else:
                    done += 1
                    continue
            self.message_user(request, f"{owner or row}: {why}", messages.ERROR)
        if done:
            self.message_user(request, self.decided_text(done), messages.SUCCESS)


def staff_only() -> str:
    return gettext("This is the account of an admin; only a superuser can act on it.")
