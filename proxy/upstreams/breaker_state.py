"""The state of one upstream's breaker in one process: what it counts, when it should open, and whether it is open."""

import logging
from collections import deque

from prometheus_client import Gauge

logger = logging.getLogger(__name__)

OPEN = Gauge(
    "hamiran_breaker_open",
    "1 while an upstream is left alone or being tried again",
    ["upstream"],
    multiprocess_mode="livemax",
)

WINDOW_SECONDS = 10
FAILURES_MIN = 5
FAILURES_IN_A_ROW = 10  # a busy upstream that goes away had hundreds of good calls within the window


class Breaker:
    """The state of one upstream in one process. `opening` names an opening to other processes; empty: closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opening = ""
        self.opens = 0
        self.open_until = 0.0
        self.probing = False
        self.unpublished = False  # Valkey does not know `opening` yet
        self.lease_over = False  # a lease is to be returned to Valkey
        self.lease_asked_at = float("-inf")
        self._calls: deque[list[int]] = deque()  # [second, calls, failures], oldest first
        self._failures_in_a_row = 0
        OPEN.labels(name).set(0)

    def count(self, *, failed: bool, now: float, is_new: bool = True) -> None:
        """Counts how a call went. If not `is_new`, the call was counted before, and only its failure is new."""
        second = int(now)
        if not self._calls or self._calls[-1][0] != second:
            self._calls.append([second, 0, 0])
            while self._calls[0][0] <= second - WINDOW_SECONDS:
                self._calls.popleft()
        self._calls[-1][1] += is_new
        self._calls[-1][2] += failed
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0

    def should_open(self) -> bool:
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:
            return True
        calls = sum(count for _second, count, _failures in self._calls)
        failures = sum(count for _second, _calls, count in self._calls)
        return failures >= FAILURES_MIN and failures * 2 >= calls

    def open(self, *, opening: str, opens: int, until: float, why: str) -> None:
        self.opening, self.opens, self.open_until = opening, opens, until
        self._forget_calls()
        self._changed(1, "open", why)

    def close(self, *, why: str) -> None:
        self.opening, self.opens, self.probing = "", 0, False
        self._forget_calls()
        self._changed(0, "closed", why)

    def _forget_calls(self) -> None:
        self._calls.clear()
        self._failures_in_a_row = 0

    def _changed(self, is_open: int, state: str, why: str) -> None:
        OPEN.labels(self.name).set(is_open)
        logger.warning(
            "breaker %s", state, extra={"upstream": self.name, "reason": why, "opened_times": self.opens}
        )
