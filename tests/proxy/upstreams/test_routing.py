"""Which route a call takes, and where it goes on a failure, with attempts that fail as they are told."""

import asyncio
import contextlib
import itertools
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalogue.served import ServedRoute
from proxy.upstreams import routing
from proxy.upstreams.breaker_state import FAILURES_MIN
from proxy.upstreams.breakers import Breakers, Permit
from proxy.upstreams.calls import AllFull, UpstreamFailed, UpstreamRefusal, Upstreams
from proxy.upstreams.rests import REFUSALS_MIN, REST_SECONDS, Rests
from proxy.upstreams.routing import RetryBudget, Router, in_order
from tests.proxy.factories import served_route

upstream_ids = itertools.count(os.getpid() * 1_000_000 + 500_000)
BROKEN = UpstreamFailed("ServerDisconnectedError", passing=True)
REFUSED = UpstreamFailed("status 302")
WRONG_KEY = UpstreamFailed("status 401", operators=True)
HALF_SAID = UpstreamFailed("took too long", begun=True)


def a_route(**fields: Any) -> ServedRoute:
    return served_route(next(upstream_ids), **fields)


# --- order -------------------------------------------------------------------------------------------------------

ROUTES = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), min_size=1, max_size=8)


@given(ROUTES, st.randoms(use_true_random=False))
def test_every_route_comes_once_and_by_priority(
    declared: list[tuple[int, int]], chance: random.Random
) -> None:
    routes = [
        served_route(number, priority=priority, weight=weight)
        for number, (priority, weight) in enumerate(declared)
    ]
    ordered = in_order(routes, chance)
    assert Counter(route.upstream_id for route in ordered) == Counter(range(len(routes)))
    assert [route.priority for route in ordered] == sorted(route.priority for route in routes)


def test_routes_of_one_priority_share_by_weight() -> None:
    chance = random.Random(7)
    routes = [served_route(1, weight=6), served_route(2, weight=3), served_route(3, weight=1)]
    firsts = Counter(in_order(routes, chance)[0].upstream_id for _ in range(10_000))
    assert [round(firsts[number] / 1000) for number in (1, 2, 3)] == [6, 3, 1]


def test_a_conversation_stays_with_its_upstream_and_conversations_share_by_weight() -> None:
    routes = [served_route(1, weight=6), served_route(2, weight=3), served_route(3, weight=1)]
    conversations = [b"conversation %d" % number for number in range(5_000)]

    def firsts(among: list[ServedRoute]) -> list[int]:
        return [in_order(among, random.Random(), each)[0].upstream_id for each in conversations]

    first = firsts(routes)
    assert first == firsts(routes[::-1])  # by whichever process, in whatever order
    shares = Counter(first)
    assert [round(shares[number] / len(first), 1) for number in (1, 2, 3)] == [0.6, 0.3, 0.1]
    without = firsts(routes[:2])  # only those of the one that went away move
    assert all(one == other for one, other in zip(first, without, strict=True) if one != 3)


def test_where_one_is_passed_over_the_others_still_share_by_weight() -> None:
    chance = random.Random(7)
    routes = [served_route(1, weight=100), served_route(2, weight=3), served_route(3, weight=1)]
    orders = (in_order(routes, chance) for _ in range(8_000))
    seconds = Counter(next(one.upstream_id for one in order if one.upstream_id != 1) for order in orders)
    assert round(seconds[2] / seconds[3]) == 3


# --- budget ------------------------------------------------------------------------------------------------------


def test_retries_are_ten_and_a_tenth_of_the_requests() -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(100)) == 10
    spent = 0
    for _ in range(1_000):
        budget.earn()
        spent += budget.spend()
    assert 95 <= spent <= 100


def test_what_was_not_needed_saves_up_to_a_hundred_retries() -> None:
    budget = RetryBudget()
    for _ in range(100_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(1_000)) == 100


# --- attempts ----------------------------------------------------------------------------------------------------


class Attempts:
    """What each upstream answers, in turn: an exception, or its id once it has run out of them. `made` in order."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.failures: dict[int, list[BaseException]] = {}

    async def __call__(self, route: ServedRoute) -> int:
        self.made.append(route.upstream_id)
        failures = self.failures.get(route.upstream_id)
        if failures:
            raise failures.pop(0)
        return route.upstream_id

    def fail(self, route: ServedRoute, *errors: BaseException, times: int = 1) -> None:
        self.failures[route.upstream_id] = list(errors) * times


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "BACKOFF_SECONDS", 0.0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def breakers(clock: Clock) -> AsyncIterator[Breakers]:
    async with redis.asyncio.Redis.from_url(django_settings.REDIS_URL) as client:
        yield Breakers(client, probe_seconds=20, clock=clock)


@pytest.fixture
def upstreams() -> Upstreams:
    return Upstreams()


@pytest_asyncio.fixture
async def rests(clock: Clock) -> AsyncIterator[Rests]:
    async with redis.asyncio.Redis.from_url(django_settings.REDIS_URL) as client:
        yield Rests(client, clock=clock)


@pytest.fixture
def router(upstreams: Upstreams, breakers: Breakers, rests: Rests) -> Router:
    return Router(upstreams=upstreams, breakers=breakers, rests=rests)


def soon() -> float:
    return asyncio.get_running_loop().time() + 60


async def open_breaker(breakers: Breakers, route: ServedRoute) -> None:
    for _ in range(FAILURES_MIN):
        permit = await breakers.admit(route)
        assert permit is not None
        permit.failed()


@pytest.fixture
def first() -> ServedRoute:
    return a_route(priority=1)


@pytest.fixture
def second() -> ServedRoute:
    return a_route(priority=2)


async def test_the_first_route_serves_and_the_others_are_not_asked(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute
) -> None:
    assert await router.call([first, second], attempts, deadline=soon()) == first.upstream_id
    assert attempts.made == [first.upstream_id]


@pytest.mark.parametrize("error", [BROKEN, REFUSED, WRONG_KEY, UpstreamRefusal(429, {})], ids=repr)
async def test_a_failure_goes_on_to_the_next_upstream(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute, error: Exception
) -> None:
    attempts.fail(first, error)
    assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    assert attempts.made == [first.upstream_id, second.upstream_id]


@pytest.mark.parametrize(
    "error", [HALF_SAID, UpstreamRefusal(400, {}), UpstreamRefusal(422, {}), RuntimeError("ours")], ids=repr
)
async def test_what_no_other_upstream_can_mend_is_final(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute, error: Exception
) -> None:
    attempts.fail(first, error)
    with pytest.raises(type(error)) as caught:
        await router.call([first, second], attempts, deadline=soon())
    assert caught.value is error
    assert attempts.made == [first.upstream_id]


async def test_the_only_upstream_is_tried_twice_after_a_passing_failure(
    router: Router, attempts: Attempts, first: ServedRoute
) -> None:
    attempts.fail(first, BROKEN)
    assert await router.call([first], attempts, deadline=soon()) == first.upstream_id
    attempts.fail(first, BROKEN, times=2)
    with pytest.raises(UpstreamFailed):
        await router.call([first], attempts, deadline=soon())
    assert len(attempts.made) == 4


@pytest.mark.parametrize("error", [REFUSED, WRONG_KEY, UpstreamRefusal(429, {})], ids=repr)
async def test_the_only_upstream_is_not_tried_twice_where_that_cannot_help(
    router: Router, attempts: Attempts, first: ServedRoute, error: Exception
) -> None:
    attempts.fail(first, error)
    with pytest.raises(type(error)):
        await router.call([first], attempts, deadline=soon())
    assert len(attempts.made) == 1


async def test_three_attempts_are_the_most(router: Router, attempts: Attempts) -> None:
    routes = [a_route(priority=number) for number in range(5)]
    for route in routes:
        attempts.fail(route, BROKEN)
    with pytest.raises(UpstreamFailed):
        await router.call(routes, attempts, deadline=soon())
    assert attempts.made == [route.upstream_id for route in routes[:3]]


async def test_another_upstream_comes_before_the_same_one_again(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute
) -> None:
    attempts.fail(first, BROKEN)
    attempts.fail(second, BROKEN)
    assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    assert attempts.made == [first.upstream_id, second.upstream_id, second.upstream_id]


async def test_with_an_empty_budget_the_first_failure_is_final(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute
) -> None:
    while router._budget.spend():
        pass
    attempts.fail(first, REFUSED)
    with pytest.raises(UpstreamFailed):
        await router.call([first, second], attempts, deadline=soon())
    assert attempts.made == [first.upstream_id]


async def test_no_second_try_where_it_would_come_after_the_deadline(
    router: Router, attempts: Attempts, first: ServedRoute
) -> None:
    attempts.fail(first, BROKEN)
    with pytest.raises(UpstreamFailed):
        await router.call([first], attempts, deadline=asyncio.get_running_loop().time())
    assert len(attempts.made) == 1


async def test_after_the_deadline_no_other_upstream_is_tried_and_blamed(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute
) -> None:
    attempts.fail(first, REFUSED)
    with pytest.raises(UpstreamFailed):
        await router.call([first, second], attempts, deadline=asyncio.get_running_loop().time())
    assert attempts.made == [first.upstream_id]


async def test_an_upstream_whose_breaker_is_open_is_passed_over(
    router: Router, attempts: Attempts, breakers: Breakers, first: ServedRoute, second: ServedRoute
) -> None:
    await open_breaker(breakers, first)
    assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    assert attempts.made == [second.upstream_id]


async def test_never_all_are_passed_over(
    router: Router,
    attempts: Attempts,
    breakers: Breakers,
    clock: Clock,
    first: ServedRoute,
    second: ServedRoute,
) -> None:
    await open_breaker(breakers, second)
    clock.now += 1
    await open_breaker(breakers, first)
    assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    assert not breakers.is_open(second)


async def test_an_open_upstream_that_is_tried_for_want_of_another_is_tried_once(
    router: Router, attempts: Attempts, breakers: Breakers, first: ServedRoute
) -> None:
    await open_breaker(breakers, first)
    attempts.fail(first, BROKEN)
    with pytest.raises(UpstreamFailed):
        await router.call([first], attempts, deadline=soon())
    assert len(attempts.made) == 1


async def test_a_try_of_a_half_open_upstream_whose_caller_is_cancelled_leaves_its_place_to_the_next(
    router: Router,
    attempts: Attempts,
    breakers: Breakers,
    clock: Clock,
    first: ServedRoute,
    second: ServedRoute,
) -> None:
    await open_breaker(breakers, first)
    clock.now += 6
    called = asyncio.Event()

    async def attempt(_route: ServedRoute) -> int:
        called.set()
        await asyncio.Event().wait()
        return 0

    trying = asyncio.create_task(router.call([first, second], attempt, deadline=soon()))
    await called.wait()
    assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    await breakers.sync()  # gives the lease back
    assert await router.call([first, second], attempts, deadline=soon()) == first.upstream_id
    assert not breakers.is_open(first)


async def test_a_half_open_upstream_that_the_budget_does_not_reach_is_left_to_the_next_call(
    router: Router,
    attempts: Attempts,
    breakers: Breakers,
    clock: Clock,
    first: ServedRoute,
    second: ServedRoute,
) -> None:
    await open_breaker(breakers, second)
    clock.now += 6
    while router._budget.spend():
        pass
    attempts.fail(first, BROKEN)
    with pytest.raises(UpstreamFailed):
        await router.call([first, second], attempts, deadline=soon())
    await breakers.sync()  # gives the lease back
    other = a_route(priority=3)
    assert await router.call([second, other], attempts, deadline=soon()) == second.upstream_id


REFUSALS = [UpstreamRefusal(400, {}), UpstreamRefusal(429, {})]


@pytest.mark.parametrize(
    "error",
    [
        None,
        BROKEN,
        HALF_SAID,
        WRONG_KEY,
        *REFUSALS,
        AllFull(),
        asyncio.CancelledError(),
        RuntimeError("ours"),
    ],
    ids=repr,
)
async def test_however_a_call_ends_each_of_its_permits_is_settled(
    router: Router,
    attempts: Attempts,
    breakers: Breakers,
    first: ServedRoute,
    second: ServedRoute,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
) -> None:
    permits: list[Permit] = []
    admit = breakers.admit

    async def admit_and_note(route: ServedRoute) -> Permit | None:
        permit = await admit(route)
        assert permit is not None
        permits.append(permit)
        return permit

    monkeypatch.setattr(breakers, "admit", admit_and_note)
    if error is not None:
        attempts.fail(first, error)
        attempts.fail(second, error)
    with contextlib.suppress(BaseException):
        await router.call([first, second], attempts, deadline=soon())
    assert permits
    for permit in permits:
        with pytest.raises(RuntimeError, match="settled once"):
            permit.dropped()


@pytest.mark.parametrize(
    "error", [UpstreamRefusal(400, {}), UpstreamRefusal(429, {}), WRONG_KEY, asyncio.CancelledError()]
)
async def test_what_is_not_the_upstreams_fault_opens_no_breaker(
    router: Router, attempts: Attempts, breakers: Breakers, first: ServedRoute, error: BaseException
) -> None:
    attempts.fail(first, error, times=20)
    for _ in range(20):
        with pytest.raises(type(error)):
            await router.call([first], attempts, deadline=soon())
    assert not breakers.is_open(first)


@pytest.mark.parametrize("error", [UpstreamRefusal(429, {}), WRONG_KEY], ids=["out of quota", "wrong key"])
async def test_an_upstream_that_refuses_everybody_keeps_no_customer_from_the_one_behind_it(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute, error: Exception
) -> None:
    attempts.fail(first, error, times=1_000)
    for _ in range(500):
        assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    assert attempts.made.count(first.upstream_id) == 1


async def test_calls_that_were_under_way_when_the_quota_ended_all_go_on(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute
) -> None:
    """However little is left of the retry budget: a 429 is no outage, and what it costs is over at once."""
    arrived = asyncio.Barrier(40)

    async def attempt(route: ServedRoute) -> int:
        if route is first:
            await arrived.wait()
            raise UpstreamRefusal(429, {})
        return await attempts(route)

    calls = (router.call([first, second], attempt, deadline=soon()) for _ in range(40))
    assert set(await asyncio.gather(*calls)) == {second.upstream_id}


@pytest.mark.parametrize("error", [UpstreamRefusal(429, {}), WRONG_KEY], ids=["429", "wrong key"])
async def test_a_cooldown_opens_no_breaker_and_is_kept_to_its_model(
    router: Router,
    attempts: Attempts,
    breakers: Breakers,
    first: ServedRoute,
    second: ServedRoute,
    error: Exception,
) -> None:
    attempts.fail(first, error)
    await router.call([first, second], attempts, deadline=soon())
    other_model = replace(first, upstream_model="another name there")
    assert await router.call([other_model, second], attempts, deadline=soon()) == first.upstream_id
    assert await router.call([first, second], attempts, deadline=soon()) == second.upstream_id
    assert not breakers.is_open(first)


async def test_an_upstream_that_cools_down_is_called_for_want_of_another_and_serves_on_from_there(
    router: Router, attempts: Attempts, first: ServedRoute, second: ServedRoute
) -> None:
    attempts.fail(first, UpstreamRefusal(429, {}, retry_after_seconds=60))
    with pytest.raises(UpstreamRefusal):
        await router.call([first], attempts, deadline=soon())
    assert await router.call([first], attempts, deadline=soon()) == first.upstream_id
    assert await router.call([first, second], attempts, deadline=soon()) == first.upstream_id


async def test_what_a_full_upstream_cannot_take_is_not_forced_on_a_broken_one(
    router: Router, attempts: Attempts, breakers: Breakers, upstreams: Upstreams, first: ServedRoute
) -> None:
    full = a_route(priority=2, max_in_flight=1)
    upstreams._places[full.upstream_id] = 1
    await open_breaker(breakers, first)
    with pytest.raises(AllFull):
        await router.call([first, full], attempts, deadline=soon())
    assert attempts.made == []
    await open_breaker(breakers, full)
    assert await router.call([first, full], attempts, deadline=soon()) == first.upstream_id


async def test_a_process_without_descriptors_blames_no_upstream(
    router: Router, attempts: Attempts, breakers: Breakers, first: ServedRoute, second: ServedRoute
) -> None:
    attempts.fail(first, AllFull("EMFILE"), times=20)
    for _ in range(20):
        with pytest.raises(AllFull):
            await router.call([first, second], attempts, deadline=soon())
    assert not breakers.is_open(first)
    assert second.upstream_id not in attempts.made


async def test_a_full_upstream_is_passed_over_and_all_full_is_said(
    router: Router, attempts: Attempts, upstreams: Upstreams, second: ServedRoute
) -> None:
    full = a_route(priority=0, max_in_flight=1)
    upstreams._places[full.upstream_id] = 1
    assert await router.call([full, second], attempts, deadline=soon()) == second.upstream_id
    with pytest.raises(AllFull):
        await router.call([full], attempts, deadline=soon())
    assert attempts.made == [second.upstream_id]


async def test_a_full_process_takes_no_call(
    router: Router, attempts: Attempts, upstreams: Upstreams, first: ServedRoute, settings: Any
) -> None:
    settings.IN_FLIGHT_MAX = 2
    upstreams._places[1] = upstreams._places[2] = 1
    with pytest.raises(AllFull):
        await router.call([first], attempts, deadline=soon())


# --- rests -------------------------------------------------------------------------------------------------------


async def limited(_route: ServedRoute) -> str:
    raise UpstreamRefusal(429, {}, retry_after_seconds=None)


async def fine(route: ServedRoute) -> str:
    return route.upstream_name


async def wear_out(router: Router, clock: Clock, routes: list[ServedRoute]) -> None:
    for _ in range(REFUSALS_MIN):
        with pytest.raises(UpstreamRefusal):
            await router.call(routes, limited, deadline=soon())
        clock.now += 1


@pytest.mark.asyncio
async def test_a_model_that_rests_is_not_called_and_the_client_told_how_long(
    router: Router, clock: Clock
) -> None:
    route = a_route()
    await wear_out(router, clock, [route])
    with pytest.raises(UpstreamRefusal) as refusal:
        await router.call([route], fine, deadline=soon())
    assert (refusal.value.status, refusal.value.retry_after_seconds) == (429, REST_SECONDS - 1)
    other = a_route(priority=200)
    assert await router.call([route, other], fine, deadline=soon()) == other.upstream_name
    clock.now += REST_SECONDS
    assert await router.call([route], fine, deadline=soon()) == route.upstream_name
    assert await router.call([route], fine, deadline=soon()) == route.upstream_name


@pytest.mark.asyncio
async def test_a_route_that_rests_is_not_called_for_want_of_one_that_is_well(
    router: Router, breakers: Breakers, clock: Clock
) -> None:
    resting, broken = a_route(), a_route()
    await wear_out(router, clock, [resting])
    await open_breaker(breakers, broken)
    assert await router.call([resting, broken], fine, deadline=soon()) == broken.upstream_name
