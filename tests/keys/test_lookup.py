import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone

from accounts.models import User
from keys import lifecycle, lookup, revocations
from keys.lookup import KeyCache, KeyIdentity, TooManyFailures, fetch, listen_for_revocations
from keys.models import APIKey
from keys.secret import LENGTH, digest, generate, has_valid_checksum
from tests.factories import TierFactory, UserFactory

PEPPER = next(iter(settings.PEPPERS.values()))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Database:
    """Real connections to the test database, counted, with a gate that can keep an answer waiting."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        self.asked += 1
        async with await psycopg.AsyncConnection.connect(
            settings.DATABASE_URL, dbname=test_database()
        ) as opened:
            yield opened
            await self.gate.wait()


def test_database() -> str:
    return str(connections["default"].settings_dict["NAME"])


test_database.__test__ = False  # type: ignore[attr-defined]


def make_key(**tier: Any) -> tuple[User, lifecycle.CreatedKey]:
    user = UserFactory.create(tier=TierFactory.create(**tier)) if tier else UserFactory.create()
    return user, lifecycle.create(user_id=user.pk, name="test")


@pytest.fixture(autouse=True)
async def no_connection_left_in_a_thread() -> AsyncIterator[None]:
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_fetch_finds_whose_key_it_is_and_what_the_tier_allows(committed_db: None) -> None:
    user, key = await sync_to_async(make_key)(name="fast", rpm=7, tpm=8, concurrency=9, account_factor=3)
    async with Database().connect() as opened:
        assert await fetch(opened, key.secret) == KeyIdentity(
            key.key_id, user.pk, user.pk, "fast", 7, 8, 9, 7, 8, 9, 3
        )


async def test_fetch_tells_the_keys_own_rules_and_the_lower_limits(committed_db: None) -> None:
    _user, key = await sync_to_async(make_key)(name="wide", rpm=70, tpm=80, concurrency=None)
    soon = timezone.now() + timedelta(hours=1)
    await APIKey.objects.filter(pk=key.key_id).aupdate(
        rpm=100, tpm=50, concurrency=3, expires_at=soon, budget_id=9,
        allowed_models=["a/b"], allowed_networks=["192.0.2.0/24", "2001:db8::/32"],
    )  # fmt: skip
    async with Database().connect() as opened:
        found = await fetch(opened, key.secret)
    assert found is not None
    assert (found.rpm, found.tpm, found.concurrency) == (70, 50, 3)
    assert (found.tier_rpm, found.tier_tpm, found.tier_concurrency) == (70, 80, None)
    assert (found.expires_at, found.budget_id) == (soon, 9)
    assert found.may_use("a/b")
    assert not found.may_use("a")
    assert found.may_come_from("2001:db8::1")
    assert not found.may_come_from("198.51.100.1")


def test_an_identity_without_rules_may_do_everything() -> None:
    identity = KeyIdentity(1, 2, 2, "free", 7, 8, None, 7, 8, None, 5)
    assert identity.may_use("anything")
    assert identity.may_come_from("")


async def test_fetch_does_not_find_what_nobody_was_given(committed_db: None) -> None:
    async with Database().connect() as opened:
        assert await fetch(opened, generate()) is None


async def test_fetch_does_not_find_a_revoked_key(committed_db: None) -> None:
    user, key = await sync_to_async(make_key)()
    await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=key.key_id)
    async with Database().connect() as opened:
        assert await fetch(opened, key.secret) is None


async def test_fetch_does_not_find_an_expired_key(committed_db: None) -> None:
    _user, key = await sync_to_async(make_key)()
    await expire(key, timedelta(0))
    async with Database().connect() as opened:
        assert await fetch(opened, key.secret) is None


async def test_an_answer_is_believed_no_longer_than_the_key_lives(committed_db: None, clock: Clock) -> None:
    _user, key = await sync_to_async(make_key)()
    await expire(key, timedelta(seconds=3))
    database = Database()
    cache = KeyCache(database.connect, clock=clock)
    assert await cache.authenticate(key.secret)
    assert await cache.authenticate(key.secret)
    assert database.asked == 1
    clock.now += 3
    await expire(key, timedelta(0))
    assert await cache.authenticate(key.secret) is None


async def expire(key: lifecycle.CreatedKey, left: timedelta) -> None:
    await APIKey.objects.filter(pk=key.key_id).aupdate(expires_at=timezone.now() + left)


async def test_a_session_key_works_until_the_next_one(committed_db: None) -> None:
    user, _key = await sync_to_async(make_key)(name="fast", rpm=7, tpm=8, concurrency=9)
    first = await sync_to_async(lifecycle.session_key)(user_id=user.pk)
    async with Database().connect() as opened:
        found = await fetch(opened, first.secret)
        assert found is not None
        assert (found.key_id, found.rpm, found.tpm) == (first.key_id, 7, 8)
        second = await sync_to_async(lifecycle.session_key)(user_id=user.pk)
        await opened.rollback()
        assert await fetch(opened, first.secret) is None
        assert await fetch(opened, second.secret) is not None


async def test_an_ended_session_key_is_not_found_and_the_next_one_works(committed_db: None) -> None:
    user, _key = await sync_to_async(make_key)()
    ended = await sync_to_async(lifecycle.session_key)(user_id=user.pk)
    await sync_to_async(lifecycle.end_session_key)(user_id=user.pk)
    async with Database().connect() as opened:
        assert await fetch(opened, ended.secret) is None
        fresh = await sync_to_async(lifecycle.session_key)(user_id=user.pk)
        await opened.rollback()
        assert await fetch(opened, ended.secret) is None
        assert await fetch(opened, fresh.secret) is not None


async def test_fetch_does_not_find_the_key_of_a_blocked_user(committed_db: None) -> None:
    user, key = await sync_to_async(make_key)()
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)
    async with Database().connect() as opened:
        assert await fetch(opened, key.secret) is None


async def test_a_key_made_under_an_older_pepper_still_works_and_new_ones_use_the_newest(
    committed_db: None, settings: Any
) -> None:
    user, old = await sync_to_async(make_key)()
    settings.PEPPERS = {2: b"a newer pepper", **settings.PEPPERS}
    new = await sync_to_async(lifecycle.create)(user_id=user.pk, name="new")
    cache = KeyCache(Database().connect)
    found = [await cache.authenticate(key.secret) for key in (old, new)]
    assert [identity.key_id for identity in found if identity] == [old.key_id, new.key_id]


async def test_forgetting_works_for_a_key_under_an_older_pepper_too(
    committed_db: None, settings: Any
) -> None:
    user, old = await sync_to_async(make_key)()
    stored = digest(old.secret, next(iter(settings.PEPPERS.values())))
    settings.PEPPERS = {2: b"a newer pepper", **settings.PEPPERS}
    cache = KeyCache(Database().connect)
    assert await cache.authenticate(old.secret)
    await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=old.key_id)
    cache.forget(stored)
    assert await cache.authenticate(old.secret) is None


async def test_garbage_is_refused_without_asking_the_database() -> None:
    def connect() -> Any:
        raise AssertionError("asked the database")

    cache = KeyCache(connect)
    for garbage in ("", "hm-", "sk-" + "a" * 36, "hm-" + "a" * 36, generate() + "x", "\ud800", "hm-\0" * 10):
        assert await cache.authenticate(garbage) is None


async def test_an_answer_good_or_bad_is_asked_once_in_five_seconds(committed_db: None, clock: Clock) -> None:
    _user, key = await sync_to_async(make_key)()
    database = Database()
    cache = KeyCache(database.connect, clock=clock)
    for secret, is_known in ((key.secret, True), (generate(), False)):
        database.asked = 0
        for later in (0, 4.99):
            clock.now += later
            assert (await cache.authenticate(secret) is not None) == is_known
        assert database.asked == 1
        clock.now += 0.01
        await cache.authenticate(secret)
        assert database.asked == 2


async def test_a_revoked_key_stops_working_within_five_seconds_without_any_message(
    committed_db: None, clock: Clock
) -> None:
    user, key = await sync_to_async(make_key)()
    cache = KeyCache(Database().connect, clock=clock)
    assert await cache.authenticate(key.secret)
    await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=key.key_id)
    clock.now += 5
    assert await cache.authenticate(key.secret) is None


async def test_the_age_of_an_answer_counts_from_the_question(committed_db: None, clock: Clock) -> None:
    _user, key = await sync_to_async(make_key)()
    database = Database()
    database.gate.clear()
    cache = KeyCache(database.connect, clock=clock)
    waiting = asyncio.create_task(cache.authenticate(key.secret))
    await until(lambda: database.asked == 1)
    clock.now += 5
    database.gate.set()
    await waiting
    await cache.authenticate(key.secret)
    assert database.asked == 2


async def test_many_callers_at_once_ask_once(committed_db: None) -> None:
    _user, key = await sync_to_async(make_key)()
    database = Database()
    cache = KeyCache(database.connect)
    found = await asyncio.gather(*(cache.authenticate(key.secret) for _ in range(50)))
    assert database.asked == 1
    assert len(found) == 50
    assert None not in found


async def test_a_caller_who_leaves_takes_nothing_from_those_who_wait(committed_db: None) -> None:
    _user, key = await sync_to_async(make_key)()
    database = Database()
    database.gate.clear()
    cache = KeyCache(database.connect)
    first, second = (asyncio.create_task(cache.authenticate(key.secret)) for _ in range(2))
    await until(lambda: database.asked == 1)
    first.cancel()
    database.gate.set()
    assert await second is not None
    assert database.asked == 1


async def test_a_failure_reaches_every_caller_and_is_not_remembered(committed_db: None) -> None:
    _user, key = await sync_to_async(make_key)()
    database = Database()
    failing = True

    def connect() -> Any:
        if failing:
            raise psycopg.OperationalError("away")
        return database.connect()

    cache = KeyCache(connect)
    answers = await asyncio.gather(
        *(cache.authenticate(key.secret) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [psycopg.OperationalError] * 3
    failing = False
    assert await cache.authenticate(key.secret) is not None


async def test_a_database_that_falls_silent_keeps_nobody_waiting_and_is_asked_again(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _user, key = await sync_to_async(make_key)()
    database = Database()
    cache = KeyCache(database.connect)
    database.gate.clear()
    monkeypatch.setattr("keys.lookup.FETCH_TIMEOUT_SECONDS", 0.1)
    for failure in await asyncio.gather(
        *(cache.authenticate(key.secret) for _ in range(3)), return_exceptions=True
    ):
        assert isinstance(failure, psycopg.OperationalError)
    monkeypatch.undo()
    database.gate.set()
    assert await cache.authenticate(key.secret) is not None
    assert database.asked == 2


async def test_an_answer_on_its_way_during_a_revocation_is_not_remembered(committed_db: None) -> None:
    user, key = await sync_to_async(make_key)()
    database = Database()
    database.gate.clear()
    cache = KeyCache(database.connect)
    early = asyncio.create_task(cache.authenticate(key.secret))
    await until(lambda: database.asked == 1)
    await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=key.key_id)
    cache.forget(digest(key.secret, next(iter(settings.PEPPERS.values()))))
    database.gate.set()
    await early
    assert await cache.authenticate(key.secret) is None


async def test_the_cache_stays_within_its_size_and_gives_up_the_oldest(committed_db: None) -> None:
    database = Database()
    cache = KeyCache(database.connect, max_entries=3)
    secrets = [generate() for _ in range(5)]
    for secret in secrets:
        await cache.authenticate(secret)
    assert len(cache) == 3
    await cache.authenticate(secrets[-1])
    assert database.asked == 5
    await cache.authenticate(secrets[0])
    assert database.asked == 6


async def test_nothing_in_the_cache_is_a_secret(committed_db: None) -> None:
    _user, key = await sync_to_async(make_key)()
    cache = KeyCache(Database().connect)
    await cache.authenticate(key.secret)
    assert key.secret not in repr(vars(cache))
    assert key.secret not in repr(key)


async def test_the_digest_of_a_key_that_works_is_computed_no_more(
    committed_db: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, key = await sync_to_async(make_key)()
    cache = KeyCache(Database().connect, clock=clock)
    for _ in range(2):
        identity = await cache.authenticate(key.secret)
    monkeypatch.setattr(lookup, "has_valid_checksum", lambda _secret: pytest.fail("computed again"))
    assert identity is not None
    assert await cache.authenticate(key.secret) is identity
    assert key.secret not in repr(vars(cache))
    cache.forget(digest(key.secret, PEPPER))
    assert await cache.authenticate(key.secret) == identity  # as the database says now
    await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=key.key_id)
    cache.forget(digest(key.secret, PEPPER))
    assert await cache.authenticate(key.secret) is None


async def test_only_so_many_digests_are_kept_and_none_of_keys_that_never_worked(committed_db: None) -> None:
    cache = KeyCache(Database().connect, max_entries=2)
    for secret in [generate() for _ in range(3)]:
        for _ in range(3):
            assert await cache.authenticate(secret) is None
    assert not cache._digests
    for _ in range(4):
        _user, key = await sync_to_async(make_key)()
        for _ in range(3):
            assert await cache.authenticate(key.secret)
    assert len(cache._digests) == 2


@pytest.mark.parametrize("character", ["a", " ", "\0", "é", "\udcff", "😀"])
async def test_text_as_long_as_a_key_is_none(character: str) -> None:
    def connect() -> Any:
        raise AssertionError("asked the database")

    cache = KeyCache(connect)
    for garbage in ("hm-" + character * (LENGTH - 3), generate()[:-1] + character):
        if not has_valid_checksum(garbage):  # one last letter in 62 is right
            assert await cache.authenticate(garbage) is None


@pytest.fixture(autouse=True)
def channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel of one's own: a web process of other tests may listen to the usual one."""
    monkeypatch.setattr(revocations, "CHANNEL", f"test:{uuid.uuid4()}")


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 - it watches another's state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(cache: KeyCache) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(settings.REDIS_URL)
    task = asyncio.create_task(listen_for_revocations(client, cache))
    try:
        await until_async(lambda: subscribers(client), 1)
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


async def subscribers(client: redis.asyncio.Redis) -> int:
    [(_channel, count)] = await client.pubsub_numsub(revocations.CHANNEL)
    return int(count)


async def until_async(value: Callable[[], Any], wanted: object) -> None:
    async with asyncio.timeout(10):
        while await value() != wanted:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.005)


async def test_a_revocation_is_heard_at_once(committed_db: None) -> None:
    user, key = await sync_to_async(make_key)()
    cache = KeyCache(Database().connect)
    async with listening(cache):
        while not len(cache):  # its confirmation may empty it once more
            assert await cache.authenticate(key.secret)
        await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=key.key_id)
        await until(lambda: len(cache) == 0)
        assert await cache.authenticate(key.secret) is None


async def test_a_lost_subscription_is_made_again_and_empties_the_cache(committed_db: None) -> None:
    user, key = await sync_to_async(make_key)()
    cache = KeyCache(Database().connect)
    async with listening(cache) as client:
        assert await cache.authenticate(key.secret)
        await client.client_kill_filter(_type="pubsub")
        await until(lambda: len(cache) == 0)
        assert await cache.authenticate(key.secret)
        await until_async(lambda: subscribers(client), 1)
        await sync_to_async(lifecycle.revoke)(user_id=user.pk, key_id=key.key_id)
        await until(lambda: len(cache) == 0)


async def test_the_listener_outlives_the_absence_of_valkey(caplog: pytest.LogCaptureFixture) -> None:
    client = redis.asyncio.Redis.from_url("unix:///nowhere.sock")

    def connect() -> Any:
        raise AssertionError

    task = asyncio.create_task(listen_for_revocations(client, KeyCache(connect)))
    await until(lambda: len([r for r in caplog.records if "not heard" in r.message]) >= 2)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.aclose()


async def test_an_address_that_tries_keys_is_not_looked_up_any_more(
    committed_db: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "FAILURES_PER_MINUTE", 3)
    _user, key = await sync_to_async(make_key)()
    _user, unseen = await sync_to_async(make_key)()
    database = Database()
    cache = KeyCache(database.connect, clock=clock)
    assert await cache.authenticate(key.secret, address="192.0.2.1")
    for _ in range(3):
        assert await cache.authenticate(generate(), address="192.0.2.1") is None
    asked = database.asked
    for secret in (generate(), generate(), unseen.secret):
        with pytest.raises(TooManyFailures):
            await cache.authenticate(secret, address="192.0.2.1")
    assert database.asked == asked
    assert await cache.authenticate(unseen.secret, address="192.0.2.2")  # others are

    # One that has worked is, even when its answer is old or was dropped, and from wherever it comes.
    for forget in (lambda: None, cache.clear):
        clock.now += 6
        forget()
        assert await cache.authenticate(key.secret, address="192.0.2.1")
    clock.now += 60
    assert await cache.authenticate(generate(), address="192.0.2.1") is None
