"""A customer's new mobile number: asked for with a reason, approved by a second admin, told to the old number.

Whoever has talked an admin into it gets a wallet with it, but no key for a while, in which its owner can object.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import admins, approvals, sessions
from accounts.admin_models import NumberChange
from accounts.channels import chats
from accounts.models import User

NO_NEW_KEYS = timedelta(hours=72)
State = NumberChange.State


class NumberTaken(Exception):
    """Another account has the new number."""


class AlreadyWaiting(Exception):
    """A change of this account's number is waiting already."""


def request(*, change: NumberChange) -> None:
    """Stores a change that an admin filled in; it waits for another one. Opens a transaction.

    Raises NumberTaken, AlreadyWaiting.
    """
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=change.user_id)
        change.old_mobile = user.mobile
        _require_free(change.new_mobile)
        if NumberChange.objects.filter(user=user, state=State.PENDING).exists():
            raise AlreadyWaiting(user.pk)
        change.save(force_insert=True)


def approve(*, change_id: int, admin_id: int) -> None:
    """Gives the account its new number, signs it out everywhere and ends its chats with bots. Opens a transaction.

    The old number is told by SMS.

    Raises approvals.AlreadyDecided, NeedsSecondAdmin, TooNew; NumberTaken. Then it stays as it was.
    """
    with transaction.atomic():
        change = _waiting(change_id)
        approvals.check(requested_by_id=change.requested_by_id, admin_id=admin_id)
        user = User.objects.select_for_update(no_key=True).get(pk=change.user_id)
        _require_free(change.new_mobile)
        old_mobile, now = user.mobile, timezone.now()
        user.mobile, user.no_new_keys_until = change.new_mobile, now + NO_NEW_KEYS
        user.save(update_fields=["mobile", "no_new_keys_until"])
        change.state, change.decided_at, change.approved_by_id = State.DONE, now, admin_id
        change.save(update_fields=["state", "decided_at", "approved_by"])
        sessions.end_all(user_id=user.pk)
        chats.disconnect_all(user_id=user.pk)
        admins.notify(
            _(
                "Hamiran: your account now belongs to %(new)s. If you did not ask for this, contact us at once."
            ),
            to=frozenset({old_mobile}),
            new=admins.name(change.new_mobile),
        )
        admins.tell_of_approval(admin_id=admin_id, what=_("a change of a mobile number"))


def reject(*, change_id: int) -> None:
    """Closes a change that waits. Opens a transaction. Raises approvals.AlreadyDecided."""
    with transaction.atomic():
        change = _waiting(change_id)
        change.state, change.decided_at = State.REJECTED, timezone.now()
        change.save(update_fields=["state", "decided_at"])


def _waiting(change_id: int) -> NumberChange:
    """The row under its lock, so that of two decisions at once the second finds the first."""
    change = NumberChange.objects.select_for_update(no_key=True).get(pk=change_id)
    if change.state != State.PENDING:
        raise approvals.AlreadyDecided(change_id)
    return change


def _require_free(mobile: str) -> None:
    if User.objects.filter(mobile=mobile).exists():
        raise NumberTaken(mobile)
