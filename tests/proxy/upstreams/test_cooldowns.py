"""How long a model of an upstream is left alone after a 429, and who tries it next."""

import pytest

from proxy.upstreams.cooldowns import COOLDOWN_MAX_SECONDS, COOLDOWN_SECONDS, TRY_SECONDS, Cooldowns
from tests.proxy.factories import served_route

ROUTE = served_route(1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    return Cooldowns(clock)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, COOLDOWN_SECONDS), (7, 7), (COOLDOWN_MAX_SECONDS + 1, COOLDOWN_MAX_SECONDS)]
)
def test_a_cooldown_lasts_as_long_as_was_asked_for_within_reason(
    cooldowns: Cooldowns, clock: Clock, asked: float | None, seconds: float
) -> None:
    assert cooldowns.admits(ROUTE)
    cooldowns.begin(ROUTE, seconds=asked)
    clock.now += seconds - 0.1
    assert not cooldowns.admits(ROUTE)
    clock.now += 0.2
    assert cooldowns.admits(ROUTE)


def test_after_a_cooldown_one_call_goes_ahead_and_its_success_lets_in_the_others(
    cooldowns: Cooldowns, clock: Clock
) -> None:
    cooldowns.begin(ROUTE, seconds=1)
    clock.now += 1
    assert [cooldowns.admits(ROUTE) for _ in range(3)] == [True, False, False]
    cooldowns.end(ROUTE)
    assert [cooldowns.admits(ROUTE) for _ in range(3)] == [True, True, True]


def test_a_call_that_tells_nothing_leaves_its_place_to_the_next(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.begin(ROUTE, seconds=1)
    clock.now += 1
    assert cooldowns.admits(ROUTE)
    clock.now += TRY_SECONDS
    assert [cooldowns.admits(ROUTE) for _ in range(2)] == [True, False]


def test_what_cools_down_is_one_model_at_one_upstream(cooldowns: Cooldowns) -> None:
    cooldowns.begin(ROUTE, seconds=None)
    assert cooldowns.admits(served_route(2))
    assert cooldowns.admits(served_route(1, upstream_model="another"))
