"""A deadline fires once, at its time, whatever was moved before."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.deadline import Deadline

Timer = tuple[float, Callable[[], None]]


class Clock:
    """An event loop's time and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.set = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> "Handle":
        self.set += 1
        timer = (when, call)
        self.timers.append(timer)
        return Handle(self, timer)

    def run_to(self, moment: float) -> None:
        self.now = moment
        while due := [timer for timer in self.timers if timer[0] <= self.now]:
            self.timers.remove(due[0])
            due[0][1]()


class Handle:
    def __init__(self, clock: Clock, timer: Timer) -> None:
        self._clock, self._timer = clock, timer

    def when(self) -> float:
        return self._timer[0]

    def cancel(self) -> None:
        if self._timer in self._clock.timers:
            self._clock.timers.remove(self._timer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


@pytest.fixture
def fired(clock: Clock) -> list[float]:
    return []


@pytest.fixture
def deadline(clock: Clock, fired: list[float]) -> Deadline:
    return Deadline(lambda: fired.append(clock.now))


def test_it_fires_once_at_its_time(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    deadline.start(110)
    clock.run_to(109.9)
    assert fired == []
    clock.run_to(110)
    clock.run_to(200)
    assert fired == [110]


def test_moved_later_it_does_not_fire_early(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    deadline.start(110)
    deadline.start(120)
    clock.run_to(119)
    assert fired == []
    clock.run_to(120)
    assert fired == [120]


def test_moved_earlier_it_fires_earlier(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    deadline.start(120)
    deadline.start(110)
    clock.run_to(110)
    clock.run_to(200)
    assert fired == [110]


def test_stopped_it_does_not_fire(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    deadline.start(110)
    deadline.stop()
    clock.run_to(200)
    assert fired == []


def test_stopped_and_started_again_it_fires_at_the_new_time(
    clock: Clock, deadline: Deadline, fired: list[float]
) -> None:
    deadline.start(110)
    deadline.stop()
    deadline.start(130)
    clock.run_to(129)
    assert fired == []
    clock.run_to(130)
    assert fired == [130]


def test_it_fires_for_a_second_wait_too(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    deadline.start(110)
    clock.run_to(110)
    deadline.start(115)
    clock.run_to(115)
    assert fired == [110, 115]


def test_closed_it_leaves_no_timer_behind(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    deadline.start(110)
    deadline.close()
    assert clock.timers == []
    clock.run_to(200)
    assert fired == []


def test_a_thousand_waits_cost_one_timer(clock: Clock, deadline: Deadline, fired: list[float]) -> None:
    for number in range(1000):
        deadline.start(clock.now + 30 + number)
        deadline.stop()
    assert clock.set == 1
    assert fired == []


async def test_it_fires_on_a_real_event_loop() -> None:
    expired = asyncio.Event()
    deadline = Deadline(expired.set)
    deadline.start(asyncio.get_running_loop().time() + 0.01)
    async with asyncio.timeout(5):
        await expired.wait()
