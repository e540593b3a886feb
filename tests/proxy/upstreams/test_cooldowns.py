"""How long a model of an upstream is left alone after a 429, and who tries it next."""

import pytest

from proxy.upstreams.cooldowns import REST_MAX_SECONDS, REST_SECONDS, TRY_SECONDS, Rests
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
def rests(clock: Clock) -> Rests:
    return Rests(clock)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, REST_SECONDS), (7, 7), (REST_MAX_SECONDS + 1, REST_MAX_SECONDS)]
)
def test_a_rest_lasts_as_long_as_was_asked_for_within_reason(
    rests: Rests, clock: Clock, asked: float | None, seconds: float
) -> None:
    assert rests.admits(ROUTE)
    rests.begin(ROUTE, seconds=asked)
    clock.now += seconds - 0.1
    assert not rests.admits(ROUTE)
    clock.now += 0.2
    assert rests.admits(ROUTE)


def test_after_a_rest_one_call_goes_ahead_and_its_success_lets_in_the_others(
    rests: Rests, clock: Clock
) -> None:
    rests.begin(ROUTE, seconds=1)
    clock.now += 1
    assert [rests.admits(ROUTE) for _ in range(3)] == [True, False, False]
    rests.end(ROUTE)
    assert [rests.admits(ROUTE) for _ in range(3)] == [True, True, True]


def test_a_call_that_tells_nothing_leaves_its_place_to_the_next(rests: Rests, clock: Clock) -> None:
    rests.begin(ROUTE, seconds=1)
    clock.now += 1
    assert rests.admits(ROUTE)
    clock.now += TRY_SECONDS
    assert [rests.admits(ROUTE) for _ in range(2)] == [True, False]


def test_what_asks_to_be_left_alone_is_one_model_at_one_upstream(rests: Rests) -> None:
    rests.begin(ROUTE, seconds=None)
    assert rests.admits(served_route(2))
    assert rests.admits(served_route(1, upstream_model="another"))
