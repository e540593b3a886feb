"""A time-out for what happens thousands of times a second."""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls `expired` once a wait between `start` and `stop` has lasted until its time (the event loop's).

    Starting and stopping cost a store each: the timer behind them is looked at when it fires, not moved with every
    event, as `asyncio.timeout` would (5 µs a chunk, twice, of some 40).
    """

    __slots__ = ("_at", "_expired", "_loop", "_timer")

    def __init__(self, expired: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expired = expired
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def start(self, at: float) -> None:
        self._at = at
        if self._timer is None or at < self._timer.when():
            self._arm()

    def stop(self) -> None:
        self._at = math.inf

    def close(self) -> None:
        """Lets go of the timer and of its owner; nothing expires any more."""
        self._at = math.inf
        # Or owner and deadline would hold each other until the garbage collector came.
        self._expired = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._at == math.inf:
            return
        if self._loop.time() < self._at:
            self._arm()
        else:
            self._at = math.inf
            self._expired()


def _nothing() -> None: ...
