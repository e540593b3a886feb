"""Keys as their owners see them: what each may do, and whether it still works. `keys.lifecycle` changes them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from keys.models import APIKey
from keys.rules import KeyRules

ENDED_LISTED = 50
COLUMNS = (
    "id", "name", "last_four", "created_at", "last_used_at", "revoked_at", "expires_at", "allowed_models",
    "allowed_networks", "rpm", "tpm", "concurrency", "budget_id", "replaces_id", "project_id", "created_by_id",
    "replaced_by",  # at most one (`apikey_replaced_once`)
)  # fmt: skip


class UnknownKey(Exception):
    """The user has no such key."""


class State(StrEnum):
    WORKING = "working"
    REPLACED = "replaced"  # another has taken its place, and it works until it expires
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key for its owner's eyes. `replaced_by` and `replaces` are ids of keys of the same owner."""

    key_id: int
    name: str
    last_four: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    rules: KeyRules
    replaces: int | None
    replaced_by: int | None
    state: State
    project_id: int | None = None
    created_by_id: int | None = None  # a member of the project, None: the owner

    @property
    def is_usable(self) -> bool:
        return self.state in (State.WORKING, State.REPLACED)


def listing(user_id: int, *, project_id: int | None = None) -> list[ListedKey]:
    """A user's keys in one of their projects, or in none, newest first.

    Those that work, then the newest ENDED_LISTED that were revoked or have expired.
    """
    now = timezone.now()
    works, own = working(now), _own(user_id).filter(project=project_id)
    return [_listed(key, now) for key in (*own.filter(works), *own.exclude(works)[:ENDED_LISTED])]


def page(
    *, user_id: int, limit: int, before: int | None, states: Collection[State], now: datetime
) -> list[ListedKey]:
    """A user's keys in these states (none: in any), newest first, at most so many, those older than `before` alone."""
    keys = _own(user_id)
    if before is not None:
        keys = keys.filter(pk__lt=before)
    if states:
        keys = keys.filter(reduce(or_, (_in_state(state, now) for state in states)))
    return [_listed(key, now) for key in keys[:limit]]


def newest_working(*, user_id: int) -> ListedKey | None:
    """The newest of a user's keys outside of projects that work; None: there is none."""
    now = timezone.now()
    key = _own(user_id).filter(working(now), project=None).order_by("-id").first()
    return None if key is None else _listed(key, now)


def get(*, user_id: int, key_id: int, now: datetime | None = None) -> ListedKey:
    """One key of a user. Raises UnknownKey."""
    key = _own(user_id).filter(pk=key_id).first()
    if key is None:
        raise UnknownKey(key_id)
    return _listed(key, now or timezone.now())


def working(now: datetime) -> Q:
    """Keys, of either kind, that are neither revoked nor expired."""
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


def _own(user_id: int) -> QuerySet[APIKey, Any]:
    """Rows of COLUMNS: of a thousand keys, objects of the model would be a third of the time."""
    keys = APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.STANDARD)
    return keys.values_list(*COLUMNS, named=True)


def _in_state(state: State, now: datetime) -> Q:
    """As `_listed` tells them apart."""
    match state:
        case State.REVOKED:
            return Q(revoked_at__isnull=False)
        case State.EXPIRED:
            return Q(revoked_at=None, expires_at__lte=now)
        case State.WORKING | State.REPLACED:
            return working(now) & Q(replaced_by__isnull=state is State.WORKING)


def _listed(key: Any, now: datetime) -> ListedKey:
    replaced_by: int | None = key.replaced_by
    if key.revoked_at is not None:
        state = State.REVOKED
    elif key.expires_at is not None and key.expires_at <= now:
        state = State.EXPIRED
    else:
        state = State.WORKING if replaced_by is None else State.REPLACED
    return ListedKey(
        key_id=key.id,
        name=key.name,
        last_four=key.last_four,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        rules=KeyRules(
            expires_at=key.expires_at,
            allowed_models=tuple(key.allowed_models),
            allowed_networks=tuple(key.allowed_networks),
            rpm=key.rpm,
            tpm=key.tpm,
            concurrency=key.concurrency,
            budget_id=key.budget_id,
        ),
        replaces=key.replaces_id,
        replaced_by=replaced_by,
        state=state,
        project_id=key.project_id,
        created_by_id=key.created_by_id,
    )
