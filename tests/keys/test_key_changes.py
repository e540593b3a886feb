"""The log of what is done to keys: who did it, what it was, and that it stays."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import User
from keys import changes, lifecycle, reading
from keys.actors import OPERATOR, Actor, Kind
from keys.changes import Action, Subject
from keys.rules import KeyRules
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


@pytest.fixture
def person(user: User) -> Actor:
    return Actor(Kind.DASHBOARD, user_id=user.pk, session="a" * 32, address="192.0.2.7")


def logged(user: User) -> list[tuple[str, dict[str, Any]]]:
    """What was done, oldest first."""
    return [(row.action, row.changes) for row in reversed(changes.page(user_id=user.pk).rows)]


@contextmanager
def refused_by(constraint: str) -> Iterator[None]:
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        yield
    assert constraint in str(refused.value)


def test_the_life_of_a_key_is_written_down(user: User, person: Actor) -> None:
    key = lifecycle.create(
        user_id=user.pk, name="shop", rules=KeyRules(rpm=8, allowed_models=("a",)), by=person
    ).key_id
    day = datetime(2027, 3, 1, tzinfo=UTC)
    lifecycle.change(
        user_id=user.pk, key_id=key, name="store", rules=KeyRules(rpm=8, expires_at=day), by=person
    )
    lifecycle.revoke(user_id=user.pk, key_id=key, by=person)
    assert logged(user) == [
        ("created", {"rpm": [None, 8], "allowed_models": [[], ["a"]]}),
        (
            "changed",
            {
                "name": ["shop", "store"],
                "expires_at": [None, "2027-03-01T00:00:00+00:00"],
                "allowed_models": [["a"], []],
            },
        ),
        ("revoked", {}),
    ]
    row = changes.page(user_id=user.pk).rows[0]
    assert (row.subject, row.subject_id, row.name) == ("key", key, "store")
    assert (row.actor, row.actor_user_id, row.session, row.address) == (
        "dashboard",
        user.pk,
        "a" * 32,
        "192.0.2.7",
    )


def test_a_replacement_is_written_down_at_both_keys(user: User, person: Actor) -> None:
    old = lifecycle.create(user_id=user.pk, name="shop", rules=KeyRules(rpm=8), by=person).key_id
    new = lifecycle.rotate(user_id=user.pk, key_id=old, grace=timedelta(0), by=person).key_id
    last = lifecycle.rotate(user_id=user.pk, key_id=new, grace=timedelta(hours=1), by=person).key_id
    done = logged(user)[1:]
    ends_at = reading.get(user_id=user.pk, key_id=new).rules.expires_at
    assert ends_at is not None
    assert done == [
        ("rotated", {"replaced_by": [None, new]}),
        ("created", {"rpm": [None, 8], "replaces": [None, old]}),
        ("rotated", {"expires_at": [None, ends_at.isoformat()], "replaced_by": [None, last]}),
        ("created", {"rpm": [None, 8], "replaces": [None, new]}),
    ]


def test_what_changes_nothing_is_not_written_down(user: User, person: Actor) -> None:
    key = lifecycle.create(user_id=user.pk, name="shop", by=person).key_id
    lifecycle.change(user_id=user.pk, key_id=key, name=" shop ", rules=KeyRules(), by=person)
    for _ in range(2):
        lifecycle.revoke(user_id=user.pk, key_id=key, by=person)
    lifecycle.session_key(user_id=user.pk)
    lifecycle.end_session_key(user_id=user.pk)
    assert [action for action, _changes in logged(user)] == ["created", "revoked"]


def test_what_is_refused_leaves_no_trace(user: User, person: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 1)
    lifecycle.create(user_id=user.pk, name="shop", by=person)
    with pytest.raises(lifecycle.TooManyKeys):
        lifecycle.create(user_id=user.pk, name="another", by=person, creation_token=uuid4())
    assert len(logged(user)) == 1


def test_pages_go_back_to_the_first_change_and_show_nobody_elses(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE", 2)
    lifecycle.create(user_id=UserFactory.create().pk, name="theirs")
    for name in ("1", "2", "3", "4", "5"):
        lifecycle.create(user_id=user.pk, name=name)
    seen, before = [], None
    while True:
        page = changes.page(user_id=user.pk, before=before)
        seen.append([row.name for row in page.rows])
        if (before := page.older) is None:
            break
    assert seen == [["5", "4"], ["3", "2"], ["1"]]


@pytest.mark.parametrize(
    "sql",
    ["UPDATE keys_keychange SET name = 'x'", "DELETE FROM keys_keychange", "TRUNCATE keys_keychange"],
)
def test_the_database_lets_nobody_change_it(user: User, sql: str) -> None:
    lifecycle.create(user_id=user.pk, name="shop")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with refused_by("append-only"):
            cursor.execute(sql)


def test_the_database_wants_to_know_who_it_was(user: User) -> None:
    for actor in (
        Actor(Kind.DASHBOARD),
        Actor(Kind.STAFF),
        Actor(Kind.ADMIN_KEY, user_id=user.pk),
        Actor(Kind.OPERATOR, user_id=user.pk),
    ):
        with refused_by("keychange_has_its_actor"):
            record(user, actor)
    record(user, OPERATOR)


def record(user: User, by: Actor) -> None:
    changes.record(
        user_id=user.pk, by=by, subject=Subject.PROJECT, subject_id=1, name="team", action=Action.CREATED
    )
