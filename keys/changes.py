"""The log of what was done to keys, written in the transaction that does it and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keys.actors import Actor
from keys.models import KeyChange
from keys.rules import KeyRules

PAGE = 50
Subject, Action = KeyChange.Subject, KeyChange.Action
Changes = Mapping[str, tuple[Any, Any]]  # field: (before, after), as JSON holds them


@dataclass(frozen=True, slots=True)
class Page:
    """`older`: what to ask the next page with; None: there is nothing older."""

    rows: list[KeyChange]
    older: int | None


def record(
    *,
    user_id: int,
    by: Actor,
    subject: KeyChange.Subject,
    subject_id: int,
    name: str,
    action: KeyChange.Action,
    last_four: str = "",
    changes: Changes | None = None,
) -> None:
    """Writes what was done to something of an account. Needs the transaction that does it."""
    KeyChange.objects.create(
        user_id=user_id,
        subject=subject,
        subject_id=subject_id,
        name=name,
        last_four=last_four,
        action=action,
        changes={field: list(pair) for field, pair in (changes or {}).items()},
        actor=by.kind,
        actor_user_id=by.user_id,
        actor_key_id=by.admin_key_id,
        session=by.session,
        address=by.address,
    )


def page(*, user_id: int, before: int | None = None) -> Page:
    """An account's changes, newest first."""
    rows = KeyChange.objects.filter(user_id=user_id).select_related("actor_key", "actor_user")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PAGE + 1])
    return Page(found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None)


def of_rules(old: KeyRules, new: KeyRules) -> Changes:
    """What differs of two keys' rules, but for the budget, whose limit is what people know."""
    before, after = _shown(old), _shown(new)
    return {field: (before[field], after[field]) for field in before if before[field] != after[field]}


def _shown(rules: KeyRules) -> dict[str, Any]:
    return {
        "expires_at": moment(rules.expires_at),
        "allowed_models": list(rules.allowed_models),
        "allowed_networks": list(rules.allowed_networks),
        "rpm": rules.rpm,
        "tpm": rules.tpm,
        "concurrency": rules.concurrency,
    }


def moment(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
