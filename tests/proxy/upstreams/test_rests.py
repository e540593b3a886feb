"""When a model rests, for how long, who tries it next, and what processes that share a Valkey know of it."""

import itertools
import os
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import redis.asyncio
from django.conf import settings
from prometheus_client import REGISTRY
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.catalogue.served import ServedRoute
from proxy.upstreams import rests as module
from proxy.upstreams.rests import (
    HASH,
    LINGER_SECONDS,
    REFUSALS_MIN,
    REST_MAX_SECONDS,
    REST_SECONDS,
    SUSTAINED_SECONDS,
    TRY_SECONDS,
    Rests,
)
from tests.proxy.factories import served_route

pytestmark = pytest.mark.asyncio
upstream_ids = itertools.count(os.getpid() * 1_000_000 + 900_000)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def route() -> ServedRoute:
    return served_route(next(upstream_ids))


@pytest_asyncio.fixture
async def valkey() -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
        await client.delete(HASH)
        yield client
        await client.delete(HASH)


@pytest.fixture
def process(valkey: redis.asyncio.Redis, clock: Clock) -> Callable[[], Rests]:
    """Makes the rests of one more web process."""
    return lambda: Rests(valkey, clock=clock)


def wear_out(rests: Rests, clock: Clock, route: ServedRoute, *, seconds: float | None = None) -> None:
    """As many 429s as make a model rest."""
    for _ in range(REFUSALS_MIN - 1):
        assert not rests.refused(route, seconds=seconds)
    clock.now += SUSTAINED_SECONDS
    assert rests.refused(route, seconds=seconds)


async def test_a_burst_is_not_sustained_and_neither_are_a_few(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute
) -> None:
    rests = process()
    assert not any(rests.refused(route, seconds=None) for _ in range(REFUSALS_MIN * 5))
    rests.answered(route)
    clock.now += SUSTAINED_SECONDS
    assert not any(rests.refused(route, seconds=None) for _ in range(REFUSALS_MIN - 1))
    assert rests.seconds_left(route) is None


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, REST_SECONDS), (1, REST_SECONDS), (40, 40), (REST_MAX_SECONDS * 9, REST_MAX_SECONDS)],
)
async def test_a_rest_lasts_as_long_as_the_upstream_asked_within_bounds(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute, asked: float | None, seconds: float
) -> None:
    rests = process()
    wear_out(rests, clock, route, seconds=asked)
    assert rests.seconds_left(route) == seconds
    assert not await rests.admits(route)
    clock.now += seconds
    assert await rests.admits(route)


async def test_what_rests_is_one_model_at_one_upstream(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute
) -> None:
    rests = process()
    wear_out(rests, clock, route)
    assert await rests.admits(served_route(route.upstream_id, upstream_model="another"))
    assert await rests.admits(served_route(next(upstream_ids)))


async def test_rests_grow_while_nothing_is_answered_and_begin_anew_after_an_answer(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute
) -> None:
    rests = process()
    wear_out(rests, clock, route)
    lasted = []
    for _ in range(8):
        left = rests.seconds_left(route)
        assert left is not None
        lasted.append(left)
        clock.now += left
        assert await rests.admits(route)
        assert rests.refused(route, seconds=None)
    assert lasted == [5, 10, 20, 40, 80, 160, 300, 300]
    clock.now += REST_MAX_SECONDS
    assert await rests.admits(route)
    rests.answered(route)
    assert rests.seconds_left(route) is None
    wear_out(rests, clock, route)
    assert rests.seconds_left(route) == REST_SECONDS


async def test_what_was_on_its_way_since_before_a_rest_changes_nothing(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute
) -> None:
    rests = process()
    wear_out(rests, clock, route)
    assert rests.refused(route, seconds=200)
    rests.answered(route)
    assert rests.seconds_left(route) == REST_SECONDS


async def test_the_other_processes_follow_and_one_call_of_all_tries(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute
) -> None:
    one, other = process(), process()
    wear_out(one, clock, route)
    await one.sync()
    await other.sync()
    left = other.seconds_left(route)
    assert left is not None
    assert left == pytest.approx(REST_SECONDS, abs=1)
    assert not await other.admits(route)
    clock.now += REST_SECONDS + 1
    assert [await other.admits(route), await one.admits(route), await other.admits(route)] == [
        True,
        False,
        False,
    ]
    other.answered(route)
    await other.sync()
    await one.sync()
    assert one.seconds_left(route) is None
    assert [await one.admits(route) for _ in range(3)] == [True, True, True]


async def test_another_429_begins_a_longer_rest_for_all(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute
) -> None:
    one, other = process(), process()
    wear_out(one, clock, route)
    await one.sync()
    await other.sync()
    clock.now += REST_SECONDS + 1
    assert await other.admits(route)
    assert other.refused(route, seconds=None)
    await other.sync()
    await one.sync()
    left = one.seconds_left(route)
    assert left is not None
    assert left == pytest.approx(2 * REST_SECONDS, abs=1)


async def test_a_try_that_never_ends_leaves_its_place_to_another(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute, valkey: redis.asyncio.Redis
) -> None:
    rests = process()
    wear_out(rests, clock, route)
    clock.now += REST_SECONDS
    assert await rests.admits(route)
    assert not await rests.admits(route)
    clock.now += TRY_SECONDS
    for name in await valkey.keys(f"{HASH}:{route.upstream_id}:*"):
        await valkey.delete(name)  # as Valkey's own clock would
    assert await rests.admits(route)


async def test_a_rest_that_is_taken_out_of_valkey_ends_everywhere(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute, valkey: redis.asyncio.Redis
) -> None:
    one, other = process(), process()
    wear_out(one, clock, route)
    for rests in (one, other):
        await rests.sync()
    labels = {"upstream": route.upstream_name, "model": route.upstream_model}
    assert REGISTRY.get_sample_value("hamiran_model_resting", labels) == 1
    await valkey.delete(HASH)
    for rests in (one, other):
        await rests.sync()
        assert rests.seconds_left(route) is None
    assert REGISTRY.get_sample_value("hamiran_model_resting", labels) == 0


async def test_a_rest_that_nobody_tries_is_forgotten_and_strange_ones_do_no_harm(
    process: Callable[[], Rests], clock: Clock, route: ServedRoute, valkey: redis.asyncio.Redis
) -> None:
    rests = process()
    await valkey.hset(HASH, "7:strange", "{}")
    await valkey.hset(HASH, "8:not json", "[")
    wear_out(rests, clock, route)
    await rests.sync()
    clock.now += REST_SECONDS + LINGER_SECONDS + 1
    rests._ahead += REST_SECONDS + LINGER_SECONDS + 1
    later = Rests(valkey, clock=lambda: clock.now)
    told = await valkey.hgetall(HASH)
    later._ahead = rests._ahead
    await later._follow(told)
    assert later.seconds_left(route) is None
    assert not await valkey.hexists(HASH, module.field_of((route.upstream_id, route.upstream_model)))


async def test_without_valkey_each_process_has_its_own(clock: Clock, route: ServedRoute) -> None:
    async with redis.asyncio.Redis.from_url("redis://127.0.0.1:1", retry=Retry(NoBackoff(), 0)) as nowhere:
        one, other = Rests(nowhere, clock=clock), Rests(nowhere, clock=clock)
        wear_out(one, clock, route)
        for rests in (one, other):
            await rests.sync()
        assert not await one.admits(route)
        assert await other.admits(route)
        clock.now += REST_SECONDS
        assert [await one.admits(route), await one.admits(route)] == [True, False]
        one.answered(route)
        await one.sync()
        assert await one.admits(route)
