"""Blocked accounts: nobody signs in to them, and their keys stop within `keys.lookup.MAX_AGE_SECONDS`."""

from django.db import transaction

from accounts import sessions
from accounts.models import User
from accounts.note_models import UserNote


def block(*, user_id: int, author_id: int, reason: str) -> bool:
    """Stops the account's keys and signs its owner out everywhere; False: it was blocked already.

    Opens a transaction.
    """
    with transaction.atomic():
        if not _set_active(user_id, to=False):
            return False
        sessions.end_all(user_id=user_id)
        _note(user_id, author_id, UserNote.Kind.BLOCKED, reason)
        return True


def unblock(*, user_id: int, author_id: int, reason: str) -> bool:
    """Lets the account be used again, with the keys it had; False: it was not blocked. Opens a transaction."""
    with transaction.atomic():
        if not _set_active(user_id, to=True):
            return False
        _note(user_id, author_id, UserNote.Kind.UNBLOCKED, reason)
        return True


def _set_active(user_id: int, *, to: bool) -> bool:
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    if user.is_active is to:
        return False
    user.is_active = to
    user.save(update_fields=["is_active"])  # and no queryset's update, of which the audit log would not know
    return True


def _note(user_id: int, author_id: int, kind: UserNote.Kind, reason: str) -> None:
    UserNote.objects.create(user_id=user_id, author_id=author_id, kind=kind, text=reason)
