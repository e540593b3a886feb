"""Admin keys are found as keys are: remembered for seconds, forgotten when told, and not guessed for long."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from keys import admin_keys, lifecycle
from keys.actors import OPERATOR
from keys.admin_lookup import AdminIdentity, AdminKeyCache
from keys.lookup import FAILURES_PER_MINUTE, KeyCache, TooManyFailures
from keys.models import AdminKey
from keys.secret import digest, generate_admin
from tests.factories import UserFactory
from tests.keys.test_lookup import Clock, Database


@pytest.fixture
def database(committed_db: None) -> Database:
    return Database()


@sync_to_async
def make(**given: Any) -> tuple[int, lifecycle.CreatedKey]:
    user = UserFactory.create()
    given = {"scopes": ["keys:read"], "allowed_networks": (), "expires_at": None, **given}
    return user.pk, admin_keys.create(
        user_id=user.pk, name="ci", creation_token=uuid4(), by=OPERATOR, **given
    )


async def test_its_identity_says_what_it_may_do(database: Database) -> None:
    user_id, key = await make(scopes=["usage:read", "keys:read"], allowed_networks=["192.0.2.0/24"])
    found = await AdminKeyCache(database.connect).authenticate(key.secret)
    assert isinstance(found, AdminIdentity)
    assert (found.admin_key_id, found.user_id, found.name) == (key.key_id, user_id, "ci")
    assert found.may(AdminKey.Scope.READ_KEYS)
    assert not found.may(AdminKey.Scope.WRITE_KEYS)
    assert found.may_come_from("192.0.2.9")
    assert not found.may_come_from("192.0.3.9")


async def test_keys_of_either_kind_are_not_found_as_the_other(database: Database) -> None:
    user_id, admin_key = await make()
    key = await sync_to_async(lifecycle.create)(user_id=user_id, name="shop")
    assert await KeyCache(database.connect).authenticate(admin_key.secret) is None
    assert await AdminKeyCache(database.connect).authenticate(key.secret) is None
    assert database.asked == 0


@pytest.mark.parametrize("pepper", [0, 1])
async def test_it_is_found_under_every_pepper(
    database: Database, monkeypatch: pytest.MonkeyPatch, pepper: int
) -> None:
    _user_id, key = await make()
    peppers = [(9, b"another pepper of enough characters"), *settings.PEPPERS.items()]
    monkeypatch.setattr(settings, "PEPPERS", dict(peppers if pepper else peppers[::-1]))
    assert await AdminKeyCache(database.connect).authenticate(key.secret) is not None


async def test_one_that_has_ended_is_not_found(database: Database) -> None:
    cache = AdminKeyCache(database.connect, clock=Clock())
    user_id, key = await make()
    assert await cache.authenticate(key.secret) is not None
    await sync_to_async(admin_keys.revoke)(user_id=user_id, key_id=key.key_id, by=OPERATOR)
    cache.forget(digest(key.secret, next(iter(settings.PEPPERS.values()))))
    assert await cache.authenticate(key.secret) is None
    _user_id, over = await make(expires_at=timezone.now() - timedelta(seconds=1))
    assert await cache.authenticate(over.secret) is None


async def test_guesses_do_not_reach_the_database_for_long(database: Database) -> None:
    cache = AdminKeyCache(database.connect, clock=Clock())
    _user_id, key = await make()
    assert await cache.authenticate(key.secret, address="192.0.2.1") is not None
    for _ in range(FAILURES_PER_MINUTE):
        assert await cache.authenticate(generate_admin(), address="192.0.2.1") is None
    asked = database.asked
    with pytest.raises(TooManyFailures):
        await cache.authenticate(generate_admin(), address="192.0.2.1")
    assert database.asked == asked
    cache.clear()
    assert await cache.authenticate(key.secret, address="192.0.2.1") is not None
    assert await cache.authenticate(generate_admin(), address="192.0.2.2") is None
