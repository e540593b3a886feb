"""What happens to an admin key: it is created and revoked. Its secret leaves here once and is never stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from keys import changes, lifecycle, reading, revocations, signals
from keys.actors import Actor
from keys.changes import Action, Changes, Subject
from keys.lifecycle import AlreadyCreated, CreatedKey, TooManyKeys
from keys.models import AdminKey, KeyChange
from keys.reading import UnknownKey
from keys.secret import generate_admin

MAX_ACTIVE = 20
MAX_CREATED_A_DAY = 100
ENDED_LISTED = 50


@dataclass(frozen=True, slots=True)
class Listed:
    """An account's admin keys, newest first: those that work, and the newest of those that no longer do."""

    working: list[AdminKey]
    ended: list[AdminKey]


def create(
    *,
    user_id: int,
    name: str,
    scopes: Sequence[str],
    allowed_networks: Sequence[str],
    expires_at: datetime | None,
    creation_token: UUID,
    by: Actor,
) -> CreatedKey:
    """Makes an admin key, at most one per (user, token). Opens a transaction.

    Raises TooManyKeys, TooManyToday, AlreadyCreated, NoNewKeys, User.DoesNotExist; IntegrityError without a name
    (`adminkey_has_name`) or with no scope, or one that does not exist (`adminkey_scopes_known`).
    """
    now = timezone.now()
    with transaction.atomic():
        lifecycle.lock_owner(user_id=user_id)
        lifecycle.check_new_keys(user_id=user_id)
        own = AdminKey.objects.filter(user_id=user_id)
        if own.filter(creation_token=creation_token).exists():
            raise AlreadyCreated
        lifecycle.check_created_today(own, most=MAX_CREATED_A_DAY)
        if own.filter(reading.working(now)).count() >= MAX_ACTIVE:
            raise TooManyKeys
        secret = generate_admin()
        key = AdminKey(
            user_id=user_id,
            name=name.strip(),
            scopes=sorted(scopes),
            allowed_networks=list(allowed_networks),
            expires_at=expires_at,
            creation_token=creation_token,
        )
        lifecycle.stamp(key, secret)
        key.save()
        _log(
            key,
            Action.CREATED,
            by,
            {
                "scopes": ([], key.scopes),
                **({"allowed_networks": ([], key.allowed_networks)} if key.allowed_networks else {}),
                **({"expires_at": (None, expires_at.isoformat())} if expires_at else {}),
            },
        )
        signals.created(key)
    return CreatedKey(key_id=key.pk, secret=secret, last_four=key.last_four)


def revoke(*, user_id: int, key_id: int, by: Actor) -> None:
    """Ends an admin key for good, in a transaction of its own, and tells the web processes after the commit.

    A repeat changes nothing. Raises UnknownKey.
    """
    with transaction.atomic():
        key = AdminKey.objects.select_for_update(no_key=True).filter(pk=key_id, user_id=user_id).first()
        if key is None:
            raise UnknownKey(key_id)
        if key.revoked_at is None:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            _log(key, Action.REVOKED, by)
            signals.revoked(key)
        transaction.on_commit(partial(revocations.announce, bytes(key.digest)))


def listing(user_id: int) -> Listed:
    works, own = reading.working(timezone.now()), AdminKey.objects.filter(user_id=user_id)
    return Listed(list(own.filter(works)), list(own.exclude(works)[:ENDED_LISTED]))


def get_working(*, user_id: int, key_id: int) -> AdminKey:
    """Raises UnknownKey."""
    key = AdminKey.objects.filter(reading.working(timezone.now()), user_id=user_id, pk=key_id).first()
    if key is None:
        raise UnknownKey(key_id)
    return key


def _log(key: AdminKey, action: KeyChange.Action, by: Actor, changed: Changes | None = None) -> None:
    changes.record(
        user_id=key.user_id,
        by=by,
        subject=Subject.ADMIN_KEY,
        subject_id=key.pk,
        name=key.name,
        last_four=key.last_four,
        action=action,
        changes=changed,
    )
