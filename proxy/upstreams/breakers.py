"""A breaker per upstream: one that keeps failing is left alone for a while, by all web processes together.

closed → open after FAILURES_IN_A_ROW, or FAILURES_MIN that are at least half of the calls of the last
WINDOW_SECONDS; open for 5 s, doubling to 60; then half-open: one call at a time over all processes tries it, and
closes or opens it again. An opening is told to Valkey, where the other processes find it within SYNC_SECONDS. Only
single-key commands are used, so a cluster serves as well, and nothing but a half-open breaker's lease is asked for
during a request. Without Valkey each process has its own breakers.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum

import redis.asyncio
from prometheus_client import Gauge
from redis.exceptions import RedisError

from proxy.catalogue.served import ServedRoute

logger = logging.getLogger(__name__)

OPEN = Gauge("hamiran_breaker_open", "1 while an upstream is left alone or being tried again", ["upstream"])

WINDOW_SECONDS = 10
FAILURES_MIN = 5
FAILURES_IN_A_ROW = 10  # a busy upstream that goes away had hundreds of good calls within the window
OPEN_SECONDS, OPEN_MAX_SECONDS = 5.0, 60.0
DOUBLINGS_MAX = 4  # beyond OPEN_MAX_SECONDS by then; an upstream can stay away for thousands of tries
SYNC_SECONDS = 0.5
VALKEY_TIMEOUT_SECONDS = 0.5
VALKEY_RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0
# How long an opening is remembered beyond its time, so that whoever comes tries it before trusting it. No setting
# may change it: processes read from a key's expiry how much of the time itself is left.
LINGER_SECONDS = 180.0


class Pass(Enum):
    """How a call came through: as any call, as the one that tries a half-open breaker, or for want of another."""

    ORDINARY = "ordinary"
    PROBE = "probe"
    FORCED = "forced"


class Breaker:
    """The state of one upstream in one process. `opening` names an opening to other processes; empty: closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opening = ""
        self.opens = 0
        self.open_until = 0.0
        self.probing = False
        self.unsaid = False  # Valkey does not know `opening` yet
        self.lease_over = False
        self.lease_asked_at = float("-inf")
        self._calls: deque[list[int]] = deque()  # [second, calls, failures], oldest first
        self._failures_in_a_row = 0
        OPEN.labels(name).set(0)

    def count(self, *, failed: bool, now: float, is_new: bool = True) -> None:
        """A call's first word, or, not `is_new`, what became of one that was counted before."""
        second = int(now)
        if not self._calls or self._calls[-1][0] != second:
            self._calls.append([second, 0, 0])
            while self._calls[0][0] <= second - WINDOW_SECONDS:
                self._calls.popleft()
        self._calls[-1][1] += is_new
        self._calls[-1][2] += failed
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0

    def is_worn_out(self) -> bool:
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


class Breakers:
    """The breakers of one web process, by upstream id.

    `probe_seconds` is the longest that a stream can take to its first byte: then another process may try as well, for
    a whole answer can take longer. `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        probe_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._lease_ms = int((probe_seconds + 10) * 1000)
        self._breakers: dict[int, Breaker] = {}
        self._away_until = 0.0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_synced(), name="breakers")

    async def close(self) -> None:
        """Tells what is left to tell: a lease that is not given back keeps all others from trying the upstream."""
        if self._task is None:
            return
        self._closing = True
        self._news.set()
        done, _late = await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if not done:
            self._task.cancel()
            # Bounded as well: a task cancelled within a call to Valkey has been seen to go on.
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task = None

    def is_open(self, route: ServedRoute) -> bool:
        """Open or half-open."""
        return bool(self._of(route).opening)

    async def admit(self, route: ServedRoute) -> Pass | None:
        """Whether a call may go there now. Whoever gets a pass gives it back: succeeded, failed or dropped."""
        breaker = self._of(route)
        if not breaker.opening:
            return Pass.ORDINARY
        if self._clock() < breaker.open_until or breaker.probing:
            return None
        breaker.probing = True  # before the lease is asked for: one of this process is enough
        try:
            leased = await self._lease(route.upstream_id, breaker)
        except BaseException:
            self.dropped(route, Pass.PROBE)  # it may have been leased all the same
            raise
        if not leased:
            breaker.probing = False
            return None
        return Pass.PROBE

    def least_bad(self, routes: Iterable[ServedRoute]) -> ServedRoute:
        """Of open ones, the one whose time is over first."""
        return min(routes, key=lambda route: self._of(route).open_until)

    def succeeded(self, route: ServedRoute, how: Pass) -> None:
        breaker = self._of(route)
        if not breaker.opening:
            breaker.count(failed=False, now=self._clock())
        elif (
            how is not Pass.ORDINARY
        ):  # an answer that was on its way since before the opening proves nothing
            breaker.close(why="it answers again")
            breaker.unsaid = breaker.lease_over = True
            self._news.set()

    def failed(self, route: ServedRoute, how: Pass) -> None:
        breaker = self._of(route)
        if not breaker.opening:
            self._count_failure(breaker, is_new=True)
        elif how is Pass.PROBE:
            breaker.probing, breaker.lease_over = False, True
            self._open(breaker, opens=breaker.opens + 1, why="it failed again")

    def broke_off(self, route: ServedRoute) -> None:
        """A call that had succeeded by its first event failed after it: one failure more, of no call more."""
        breaker = self._of(route)
        if not breaker.opening:
            self._count_failure(breaker, is_new=False)

    def dropped(self, route: ServedRoute, how: Pass) -> None:
        """The call ended without saying anything about the upstream."""
        if how is Pass.PROBE:
            breaker = self._of(route)
            breaker.probing, breaker.lease_over = False, True
            self._news.set()

    def _of(self, route: ServedRoute) -> Breaker:
        breaker = self._breakers.get(route.upstream_id)
        if breaker is None:
            breaker = self._breakers[route.upstream_id] = Breaker(route.upstream_name)
            self._news.set()  # others may know more of it
        return breaker

    def _count_failure(self, breaker: Breaker, *, is_new: bool) -> None:
        breaker.count(failed=True, now=self._clock(), is_new=is_new)
        if breaker.is_worn_out():
            self._open(breaker, opens=1, why="it keeps failing")

    def _open(self, breaker: Breaker, *, opens: int, why: str) -> None:
        seconds = min(OPEN_SECONDS * 2 ** min(opens - 1, DOUBLINGS_MAX), OPEN_MAX_SECONDS)
        breaker.open(opening=secrets.token_hex(8), opens=opens, until=self._clock() + seconds, why=why)
        breaker.unsaid = True
        self._news.set()

    async def _lease(self, upstream_id: int, breaker: Breaker) -> bool:
        """Takes the one place for a call that tries a half-open upstream. Without Valkey it is free."""
        now = self._clock()
        if now < breaker.lease_asked_at + SYNC_SECONDS:
            return False  # it was taken a moment ago
        if now < self._away_until:
            return True
        try:
            async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
                leased = await self._client.set(
                    f"{_key(upstream_id)}:probe", b"1", nx=True, px=self._lease_ms
                )
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return True
        if not leased:
            breaker.lease_asked_at = now
        return bool(leased)

    async def _keep_synced(self) -> None:
        while True:
            last = self._closing
            self._news.clear()
            await self.sync()
            if last:
                return
            if self._clock() < self._away_until:
                await asyncio.sleep(VALKEY_RETRY_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._news.wait()

    async def sync(self) -> None:
        """Tells Valkey what happened here, and follows what happened elsewhere."""
        try:
            for upstream_id, breaker in list(self._breakers.items()):
                async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
                    await self._tell(_key(upstream_id), breaker)
                    await self._hear(_key(upstream_id), breaker)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
        else:
            if self._away_until:
                logger.warning("valkey back: breakers are shared again")
                self._away_until = 0.0

    async def _tell(self, key: str, breaker: Breaker) -> None:
        if breaker.unsaid:
            opening = breaker.opening
            if opening:
                seconds = max(0.0, breaker.open_until - self._clock()) + LINGER_SECONDS
                await self._client.set(key, f"{breaker.opens}:{opening}", px=int(seconds * 1000))
            else:
                await self._client.delete(key)
            if breaker.opening == opening:
                breaker.unsaid = False
        if breaker.lease_over:
            await self._client.delete(f"{key}:probe")
            breaker.lease_over = False

    async def _hear(self, key: str, breaker: Breaker) -> None:
        opening = breaker.opening
        told = await self._client.get(key)
        opens, _colon, heard = (told.decode() if isinstance(told, bytes) else told or "").partition(":")
        if heard == opening:
            return
        # What is left of its time, by Valkey's clock: machines need not agree on theirs.
        left = await self._client.pttl(key) / 1000 - LINGER_SECONDS if heard else 0.0
        if breaker.unsaid or breaker.opening != opening:
            return  # it changed here meanwhile
        if heard:
            breaker.open(
                opening=heard,
                opens=int(opens),
                until=self._clock() + max(0.0, left),
                why="another process says so",
            )
        else:
            breaker.close(why="another process says so, or its time is over")

    def _lost(self, error: BaseException) -> None:
        if not self._away_until:
            logger.error("valkey away: breakers are kept per process", extra={"error": repr(error)})
        self._away_until = self._clock() + VALKEY_RETRY_SECONDS


def _key(upstream_id: int) -> str:
    return f"hamiran:breaker:{upstream_id}"
