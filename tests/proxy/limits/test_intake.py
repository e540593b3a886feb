"""What a key may make a process read and refuse per minute, and whose body is parsed next."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.limits.intake import LARGE_BODY_BYTES, Intake, PerMinute, max_bytes, max_refusals

MEGABYTE = 1024 * 1024


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_taken_leaves_after_a_minute() -> None:
    clock = Clock()
    taken = PerMinute(clock=clock)
    assert taken.wait_seconds(1, 10, limit=10) == 0
    taken.add(1, 6)
    clock.now += 20
    taken.add(1, 4)
    assert taken.wait_seconds(1, 1, limit=10) == 40
    assert taken.wait_seconds(1, 7, limit=10) == 60
    assert taken.wait_seconds(2, 10, limit=10) == 0  # each key has a minute of its own
    clock.now += 40
    assert taken.wait_seconds(1, 6, limit=10) == 0


def test_what_was_not_read_after_all_is_given_back() -> None:
    taken = PerMinute(clock=Clock())
    taken.add(1, 6)
    taken.add(1, 3)
    taken.take_back(1, 6)
    assert taken.wait_seconds(1, 7, limit=10) == 0
    assert taken.wait_seconds(1, 8, limit=10) == 60
    taken.take_back(9, 5)  # of which nothing is known
    assert taken.wait_seconds(9, 10, limit=10) == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 6)), max_size=30), st.integers(1, 10))
def test_the_wait_is_true(steps: list[tuple[float, int]], amount: int) -> None:
    clock, limit = Clock(), 10
    taken = PerMinute(clock=clock)
    for pause, size in steps:
        clock.now += pause
        if not taken.wait_seconds(1, size, limit=limit):
            taken.add(1, size)
    if wait := taken.wait_seconds(1, amount, limit=limit):
        clock.now += wait - 0.001
        assert taken.wait_seconds(1, amount, limit=limit)
        clock.now += 0.002
    assert taken.wait_seconds(1, amount, limit=limit) == 0


def test_keys_that_are_silent_for_a_minute_are_forgotten() -> None:
    clock = Clock()
    taken = PerMinute(clock=clock)
    for key_id in range(100):
        taken.add(key_id, 1)
    clock.now += 61
    taken.add(100, 1)
    assert len(taken) == 1


def test_the_bounds_let_honest_clients_through() -> None:
    assert max_bytes(rpm=10, tpm=20_000, body_max_bytes=20 * MEGABYTE) == 20 * MEGABYTE
    assert max_bytes(rpm=60, tpm=200_000, body_max_bytes=20 * MEGABYTE) == 60 * MEGABYTE
    assert max_bytes(rpm=10, tpm=10_000_000, body_max_bytes=20 * MEGABYTE) == 160_000_000
    assert (max_refusals(10), max_refusals(500)) == (100, 500)


async def test_large_bodies_take_turns_and_rest_as_long_as_they_took() -> None:
    order: list[str] = []
    doors = Intake()

    async def one(name: str, size: int, ready: asyncio.Event) -> None:
        async with doors.turn(size):
            order.append(f"{name} begins")
            await ready.wait()
            order.append(f"{name} ends")

    go, now = asyncio.Event(), asyncio.Event()
    now.set()
    large = [asyncio.create_task(one(name, LARGE_BODY_BYTES + 1, go)) for name in ("a", "b")]
    await asyncio.sleep(0)
    await asyncio.gather(*(one("small", LARGE_BODY_BYTES, now) for _ in range(2)))
    go.set()
    await asyncio.gather(*large)
    assert order == ["a begins", *["small begins", "small ends"] * 2, "a ends", "b begins", "b ends"]


async def test_between_two_large_bodies_all_others_have_as_much_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, slept = Clock(), []
    doors = Intake()

    async def sleep(seconds: float) -> None:
        slept.append(max(seconds, 0.0))

    monkeypatch.setattr("proxy.limits.intake.time.monotonic", clock)
    monkeypatch.setattr("proxy.limits.intake.asyncio.sleep", sleep)
    async with doors.turn(LARGE_BODY_BYTES + 1):
        clock.now += 3
    clock.now += 1
    async with doors.turn(LARGE_BODY_BYTES + 1):
        pass
    assert slept == [0, 2]
