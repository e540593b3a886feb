"""Breakers: when they open, who tries again, and what processes that share a Valkey know of each other."""

import asyncio
import itertools
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio
from django.conf import settings
from prometheus_client import REGISTRY

from proxy.catalogue.served import ServedRoute
from proxy.upstreams.breaker_state import FAILURES_IN_A_ROW, FAILURES_MIN
from proxy.upstreams.breakers import Breakers, Permit, PermitKind
from tests.live import eventually, free_port
from tests.proxy.factories import served_route

upstream_ids = itertools.count(os.getpid() * 1_000_000)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

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
        yield client


@pytest.fixture
def process(valkey: redis.asyncio.Redis, clock: Clock) -> Callable[[], Breakers]:
    """Makes the breakers of one more web process."""
    return lambda: Breakers(valkey, probe_seconds=20, clock=clock)


async def admitted(breakers: Breakers, route: ServedRoute) -> Permit:
    permit = await breakers.admit(route)
    assert permit is not None
    return permit


async def probe(breakers: Breakers, route: ServedRoute) -> Permit:
    permit = await admitted(breakers, route)
    assert permit.kind is PermitKind.PROBE
    return permit


async def call(breakers: Breakers, route: ServedRoute, *, well: bool) -> PermitKind:
    permit = await admitted(breakers, route)
    if well:
        permit.succeeded()
    else:
        permit.failed()
    return permit.kind


async def open_it(breakers: Breakers, route: ServedRoute) -> None:
    for _ in range(FAILURES_MIN):
        await call(breakers, route, well=False)
    assert breakers.is_open(route)


def gauge(route: ServedRoute) -> float | None:
    return REGISTRY.get_sample_value("hamiran_breaker_open", {"upstream": route.upstream_name})


# --- one process -----------------------------------------------------------------------------------------------


async def test_five_failures_in_ten_seconds_open_a_breaker(
    process: Callable[[], Breakers], route: ServedRoute
) -> None:
    breakers = process()
    for _ in range(FAILURES_MIN - 1):
        assert await call(breakers, route, well=False) is PermitKind.ORDINARY
    assert (breakers.is_open(route), gauge(route)) == (False, 0)
    await call(breakers, route, well=False)
    assert (breakers.is_open(route), gauge(route)) == (True, 1)
    assert await breakers.admit(route) is None


async def test_failures_that_are_fewer_than_half_of_the_calls_open_nothing(
    process: Callable[[], Breakers], route: ServedRoute
) -> None:
    breakers = process()
    for _ in range(9):
        await call(breakers, route, well=True)
    for _ in range(8):
        await call(breakers, route, well=False)
    assert not breakers.is_open(route)
    await call(breakers, route, well=False)
    assert breakers.is_open(route)


async def test_ten_failures_in_a_row_open_a_breaker_however_much_went_well_before(
    process: Callable[[], Breakers], route: ServedRoute
) -> None:
    breakers = process()
    for well in [True] * 500 + [False] * 9 + [True] + [False] * 9:
        await call(breakers, route, well=well)
    assert not breakers.is_open(route)
    await call(breakers, route, well=False)
    assert breakers.is_open(route)


async def test_failures_of_long_ago_do_not_count(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    for _ in range(FAILURES_IN_A_ROW - 1):
        await call(breakers, route, well=False)
        clock.now += 2.6  # four at most within ten seconds
    assert not breakers.is_open(route)


async def test_after_its_time_one_call_tries_and_a_success_closes(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    await open_it(breakers, route)
    clock.now += 4.9
    assert await breakers.admit(route) is None
    clock.now += 0.2
    trial = await probe(breakers, route)
    assert await breakers.admit(route) is None
    trial.succeeded()
    assert (breakers.is_open(route), gauge(route)) == (False, 0)
    assert (await admitted(breakers, route)).kind is PermitKind.ORDINARY


async def test_each_failed_try_doubles_the_time_up_to_a_minute(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    await open_it(breakers, route)
    for seconds in (5, 10, 20, 40, 60, 60):
        clock.now += seconds - 0.1
        assert await breakers.admit(route) is None
        clock.now += 0.2
        assert await call(breakers, route, well=False) is PermitKind.PROBE
        await breakers.sync()  # gives the lease back


async def test_an_upstream_may_stay_away_for_weeks(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    await open_it(breakers, route)
    for _ in range(2_000):
        Permit(breakers, route, PermitKind.PROBE).failed()
    clock.now += 59.9
    assert await breakers.admit(route) is None
    clock.now += 0.2
    await probe(breakers, route)


@pytest.mark.parametrize(("broken", "opens"), [(8, True), (4, False)])
async def test_streams_that_break_off_count_once_though_they_began_well(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, broken: int, opens: bool
) -> None:
    """Two in a second, of which so many out of ten break three seconds later."""
    breakers, breaks_at = process(), deque[float]()
    for number in range(100):
        clock.now += 0.5
        while breaks_at and breaks_at[0] <= clock.now:
            breaks_at.popleft()
            breakers.broke_off(route)
        if breakers.is_open(route):
            break
        await call(breakers, route, well=True)
        if number % 10 < broken:
            breaks_at.append(clock.now + 3)
    assert breakers.is_open(route) is opens


async def test_a_stream_that_breaks_off_while_its_upstream_is_left_alone_changes_nothing(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    await open_it(breakers, route)
    breakers.broke_off(route)
    clock.now += 5.1
    await probe(breakers, route)


async def test_a_try_that_says_nothing_leaves_the_place_to_the_next(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    await open_it(breakers, route)
    clock.now += 6
    (await probe(breakers, route)).dropped()
    await breakers.sync()
    await probe(breakers, route)


@pytest.mark.parametrize("first", ["succeeded", "failed", "dropped"])
@pytest.mark.parametrize("second", ["succeeded", "failed", "dropped"])
async def test_a_permit_is_settled_once(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, first: str, second: str
) -> None:
    breakers = process()
    await open_it(breakers, route)
    clock.now += 6
    trial = await probe(breakers, route)
    getattr(trial, first)()
    is_open = breakers.is_open(route)
    with pytest.raises(RuntimeError):
        getattr(trial, second)()
    assert breakers.is_open(route) is is_open


async def test_whoever_is_cancelled_while_the_lease_is_asked_for_gives_it_back(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, valkey: redis.asyncio.Redis
) -> None:
    """Valkey has granted the lease, but its answer has not arrived."""
    breakers = process()
    await open_it(breakers, route)
    await breakers.sync()
    clock.now += 6
    granted, set_ = asyncio.Event(), valkey.set

    async def set_and_stay(*arguments: Any, **options: Any) -> None:
        await set_(*arguments, **options)
        granted.set()
        await asyncio.Event().wait()

    valkey.set = set_and_stay  # type: ignore[method-assign]
    asking = asyncio.create_task(breakers.admit(route))
    await granted.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    valkey.set = set_  # type: ignore[method-assign]
    assert await valkey.exists(f"hamiran:breaker:{route.upstream_id}:probe") == 1
    await breakers.sync()
    await probe(breakers, route)


async def test_a_late_answer_from_before_the_opening_does_not_close(
    process: Callable[[], Breakers], route: ServedRoute
) -> None:
    breakers = process()
    good, bad = await admitted(breakers, route), await admitted(breakers, route)
    await open_it(breakers, route)
    good.succeeded()
    bad.failed()
    assert breakers.is_open(route)


async def test_a_call_for_want_of_another_closes_if_it_goes_well_and_changes_nothing_if_not(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers = process()
    await open_it(breakers, route)
    breakers.force([route]).failed()
    clock.now += 5.1  # not prolonged
    await probe(breakers, route)
    breakers.force([route]).succeeded()
    assert not breakers.is_open(route)


async def test_the_call_for_want_of_another_goes_to_the_upstream_that_is_due_first(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    breakers, later = process(), served_route(next(upstream_ids))
    await open_it(breakers, route)
    clock.now += 1
    await open_it(breakers, later)
    assert breakers.force([later, route]).route is route


async def test_each_change_of_state_is_one_line_in_the_log(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    breakers = process()
    await open_it(breakers, route)
    clock.now += 6
    await call(breakers, route, well=True)
    lines = [
        record.getMessage() for record in caplog.records if record.name == "proxy.upstreams.breaker_state"
    ]
    assert lines == ["breaker open", "breaker closed"]


# --- several processes -----------------------------------------------------------------------------------------


async def test_an_opening_and_its_end_reach_the_other_processes(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    one, other = process(), process()
    assert (await admitted(other, route)).kind is PermitKind.ORDINARY
    await open_it(one, route)
    await one.sync()
    await other.sync()
    assert await other.admit(route) is None
    clock.now += 6
    assert await call(other, route, well=True) is PermitKind.PROBE
    await other.sync()
    await one.sync()
    assert (await admitted(one, route)).kind is PermitKind.ORDINARY


async def test_one_process_at_a_time_tries_a_half_open_upstream(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    one, other = process(), process()
    assert not other.is_open(route)
    await open_it(one, route)
    await one.sync()
    await other.sync()
    clock.now += 6
    permits = await asyncio.gather(one.admit(route), other.admit(route))
    trying, waiting = (one, other) if permits[0] else (other, one)
    [trial] = [permit for permit in permits if permit is not None]
    assert trial.kind is PermitKind.PROBE
    trial.failed()
    await trying.sync()
    await waiting.sync()
    clock.now += 9.9
    assert await waiting.admit(route) is None  # it knows of the doubling
    clock.now += 0.2
    await probe(waiting, route)


async def test_a_process_that_starts_later_learns_how_much_time_is_left(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock
) -> None:
    one = process()
    await open_it(one, route)
    await one.sync()
    late = Breakers(one._client, probe_seconds=300, clock=clock)  # with other time-outs, too
    assert not late.is_open(route)
    await late.sync()
    clock.now += 4
    assert await late.admit(route) is None
    clock.now += 1.1
    await probe(late, route)


async def test_an_opening_here_is_not_undone_by_what_valkey_said_before(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, valkey: redis.asyncio.Redis
) -> None:
    """Valkey's word that another process has closed it is on its way while the try of this one fails."""
    breakers = process()
    await open_it(breakers, route)
    await breakers.sync()
    clock.now += 6
    trial = await probe(breakers, route)
    await valkey.delete(f"hamiran:breaker:{route.upstream_id}")
    get = valkey.get

    async def get_late(name: str) -> object:
        value = await get(name)
        trial.failed()
        return value

    valkey.get = get_late  # type: ignore[method-assign, assignment]
    await breakers.sync()
    valkey.get = get  # type: ignore[method-assign]
    await breakers.sync()
    assert breakers.is_open(route)


async def test_what_breakers_leave_in_valkey_goes_away_by_itself(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, valkey: redis.asyncio.Redis
) -> None:
    breakers = process()
    await open_it(breakers, route)
    await breakers.sync()
    clock.now += 6
    await breakers.admit(route)
    names = await valkey.keys(f"hamiran:breaker:{route.upstream_id}*")
    assert len(names) == 2
    for name in names:
        assert 0 < await valkey.pttl(name) <= 190_000


async def test_running_processes_tell_each_other_by_themselves(
    valkey: redis.asyncio.Redis, route: ServedRoute
) -> None:
    one, other = Breakers(valkey, probe_seconds=20), Breakers(valkey, probe_seconds=20)
    one.start()
    other.start()
    try:
        assert not other.is_open(route)
        await open_it(one, route)
        await asyncio.to_thread(eventually, lambda: other.is_open(route))
    finally:
        await one.close()
        await other.close()


async def test_a_process_that_stops_while_it_tries_leaves_the_place_to_another(
    process: Callable[[], Breakers], route: ServedRoute, clock: Clock, valkey: redis.asyncio.Redis
) -> None:
    breakers = process()
    breakers.start()
    await open_it(breakers, route)
    clock.now += 6
    trial = await probe(breakers, route)
    trial.dropped()
    await breakers.close()
    assert await valkey.exists(f"hamiran:breaker:{route.upstream_id}:probe") == 0


# --- Valkey away -----------------------------------------------------------------------------------------------


async def test_without_valkey_each_process_has_its_own_breakers(
    route: ServedRoute, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with redis.asyncio.Redis(port=free_port()) as nowhere:
        breakers = Breakers(nowhere, probe_seconds=20, clock=clock)
        await open_it(breakers, route)
        await breakers.sync()
        assert breakers.is_open(route)
        clock.now += 6
        trial = await probe(breakers, route)
        assert await breakers.admit(route) is None
        trial.succeeded()
        await breakers.sync()
        assert not breakers.is_open(route)
    lines = [record.getMessage() for record in caplog.records if "valkey" in record.getMessage()]
    assert lines == ["valkey away: breakers are kept per process"]


async def test_what_happened_while_valkey_was_away_is_told_when_it_is_back(
    process: Callable[[], Breakers], route: ServedRoute, valkey: redis.asyncio.Redis
) -> None:
    one, other = process(), process()
    assert not other.is_open(route)
    set_ = valkey.set

    async def away(*_args: object, **_options: object) -> None:
        raise redis.exceptions.ConnectionError

    valkey.set = away  # type: ignore[method-assign]
    await open_it(one, route)
    await one.sync()
    valkey.set = set_  # type: ignore[method-assign]
    await one.sync()
    await other.sync()
    assert other.is_open(route)
