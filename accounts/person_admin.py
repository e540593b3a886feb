"""What an admin does on the page of a person: blocks and unblocks with a reason, signs out, writes a note.

There is nothing here, or anywhere in the admin, by which an admin becomes that person.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import admins, audit, blocking, sessions
from accounts.approval_admin import admin_id, may_touch, staff_only
from accounts.models import User
from accounts.note_models import TEXT_MAX_LENGTH, UserNote
from accounts.read_only_admin import ReadOnlyAdmin


class WordsForm(forms.Form):
    """A reason or a note."""

    words = forms.CharField(max_length=TEXT_MAX_LENGTH)


class PersonActions(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Addresses of an account's page that take what its buttons send."""

    def get_urls(self) -> list[Any]:
        acts: dict[str, Callable[[HttpRequest, int], HttpResponse]] = {
            "block": self.block_person,
            "unblock": self.unblock_person,
            "signout": self.sign_person_out,
            "note": self.note_person,
        }
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"accounts_user_{name}")
            for name, view in acts.items()
        ]
        return [*own, *super().get_urls()]

    def has_block_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.block_user")

    def has_end_sessions_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_user_sessions")

    def has_note_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.add_usernote")

    def block_person(self, request: HttpRequest, pk: int) -> HttpResponse:
        def block(user: User, reason: str) -> str:
            blocking.block(user_id=user.pk, author_id=admin_id(request), reason=reason)
            return gettext("The account is blocked: signed out everywhere, and its keys stop within seconds.")

        return self._do(request, pk, may=self.has_block_permission(request), act=block, to_colleagues=False)

    def unblock_person(self, request: HttpRequest, pk: int) -> HttpResponse:
        def unblock(user: User, reason: str) -> str:
            blocking.unblock(user_id=user.pk, author_id=admin_id(request), reason=reason)
            return gettext("The account works again, with the keys it had.")

        return self._do(request, pk, may=self.has_block_permission(request), act=unblock, to_colleagues=False)

    def sign_person_out(self, request: HttpRequest, pk: int) -> HttpResponse:
        def sign_out(user: User, _words: str) -> str:
            end_sessions(user)
            return gettext("Signed out everywhere.")

        may = self.has_end_sessions_permission(request)
        return self._do(request, pk, may=may, act=sign_out, to_colleagues=False, needs_words=False)

    def note_person(self, request: HttpRequest, pk: int) -> HttpResponse:
        def note(user: User, text: str) -> str:
            UserNote.objects.create(user=user, author_id=admin_id(request), text=text)
            return gettext("The note was added.")

        return self._do(request, pk, may=self.has_note_permission(request), act=note, to_colleagues=True)

    def _do(
        self,
        request: HttpRequest,
        pk: int,
        *,
        may: bool,
        act: Callable[[User, str], str],
        to_colleagues: bool,
        needs_words: bool = True,
    ) -> HttpResponse:
        """`to_colleagues`: whether any admin may do it to the account of an admin."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (may and self.has_view_permission(request)):
            raise PermissionDenied
        user = User.objects.filter(pk=pk).first()
        if user is None:
            raise Http404
        form = WordsForm(request.POST)
        if not (to_colleagues or may_touch(request, user)):
            self.message_user(request, staff_only(), messages.ERROR)
        elif needs_words and not form.is_valid():
            self.message_user(request, gettext("Nothing was done: say why."), messages.ERROR)
        else:
            words = form.cleaned_data["words"] if needs_words else ""
            with _watched(request) if user.is_staff else nullcontext():
                said = act(user, words)
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:accounts_user_change", args=[pk]))


def _watched(request: HttpRequest) -> AbstractContextManager[None]:
    """An admin who is blocked loses rights, and one who is unblocked is given them."""
    return admins.watched(by=User.objects.get(pk=admin_id(request)))


def end_sessions(user: User) -> None:
    """Signs a person out everywhere, which the audit log keeps. Opens a transaction."""
    with transaction.atomic():
        sessions.end_all(user_id=user.pk)
        audit.note(user, what="sessions", after="signed out everywhere")


@admin.register(UserNote)
class UserNoteAdmin(ReadOnlyAdmin):
    """All of them, to be searched; they are written on a person's page and never changed."""

    list_display = fields = ("created_at", "user", "kind", "text", "author")
    list_filter = ("kind",)
    list_select_related = ("user", "author")
    search_fields = ("user__mobile", "text")
    search_help_text = _("A mobile number, or words of a note")
