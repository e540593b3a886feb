"""A breaker per upstream: one that keeps failing is left alone for a while, by all web processes together.

closed → open after FAILURES_IN_A_ROW, or FAILURES_MIN that are at least half of the calls of the last
WINDOW_SECONDS; open for 5 s, doubling to 60; then half-open: one call at a time over all processes tries it, and
closes or opens it again. An opening is published in Valkey, where the other processes find it within SYNC_SECONDS.
Only single-key commands are used, so a cluster serves as well, and a request waits for Valkey only while it takes the
lease of a half-open breaker. Without Valkey each process has its own breakers.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from enum import Enum

import redis.asyncio
from redis.exceptions import RedisError

from proxy.catalogue.served import ServedRoute
from proxy.upstreams.breaker_state import Breaker

logger = logging.getLogger(__name__)

OPEN_SECONDS, OPEN_MAX_SECONDS = 5.0, 60.0
DOUBLINGS_MAX = 4  # past OPEN_MAX_SECONDS; an upstream can stay away for thousands of tries
SYNC_SECONDS = 0.5
VALKEY_TIMEOUT_SECONDS = 0.5
VALKEY_RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0
# How long an opening is remembered beyond its time, so that the next call tries the upstream before others trust it.
# No setting may change it: processes derive from a key's expiry how long the breaker stays open.
LINGER_SECONDS = 180.0


class PermitKind(Enum):
    """For a call like any other, the one that tries a half-open upstream, or one that is made for want of another."""

    ORDINARY = "ordinary"
    PROBE = "probe"
    FORCED = "forced"


class Permit:
    """Permission to call `route` once. Its holder settles it, exactly once, by what the call says of the upstream."""

    __slots__ = ("_breakers", "kind", "route")

    def __init__(self, breakers: "Breakers", route: ServedRoute, kind: PermitKind) -> None:
        self.route, self.kind = route, kind
        self._breakers: Breakers | None = breakers

    def succeeded(self) -> None:
        """The upstream is well. It may have refused the request for a fault of the request's own."""
        self._settle()._succeeded(self)

    def failed(self) -> None:
        """The upstream is at fault."""
        self._settle()._failed(self)

    def dropped(self) -> None:
        """The call ended without saying anything about the upstream."""
        self._settle()._dropped(self)

    def _settle(self) -> "Breakers":
        if self._breakers is None:
            raise RuntimeError("a permit is settled once")
        breakers, self._breakers = self._breakers, None
        return breakers


class Breakers:
    """The breakers of one web process, by upstream id.

    `probe_seconds` is the longest that a stream can take to its first byte; after it another process may try as well,
    since a whole answer can take longer. `clock` gives seconds that only grow.
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
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_synced(), name="breakers")

    async def close(self) -> None:
        """Publishes what is not known yet: a lease that is not returned keeps all others from trying the upstream."""
        if self._task is None:
            return
        self._closing = True
        self._wake.set()
        done, _late = await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if not done:
            self._task.cancel()
            # Bounded as well: a task cancelled within a call to Valkey has been seen to go on.
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task = None

    def is_open(self, route: ServedRoute) -> bool:
        """Open or half-open."""
        return bool(self._breaker(route).opening)

    async def admit(self, route: ServedRoute) -> Permit | None:
        """Permission to call `route` now; None while it is left alone."""
        breaker = self._breaker(route)
        if not breaker.opening:
            return Permit(self, route, PermitKind.ORDINARY)
        if self._clock() < breaker.open_until or breaker.probing:
            return None
        breaker.probing = True  # before the lease is asked for: one of this process is enough
        probe = Permit(self, route, PermitKind.PROBE)
        try:
            leased = await self._lease(route.upstream_id, breaker)
        except BaseException:
            probe.dropped()  # it may have been leased all the same
            raise
        if not leased:
            breaker.probing = False
            return None
        return probe

    def force(self, routes: Iterable[ServedRoute]) -> Permit:
        """Permission to call one of `routes` though none is admitted: the one that would be admitted first."""
        return Permit(self, min(routes, key=lambda route: self._breaker(route).open_until), PermitKind.FORCED)

    def broke_off(self, route: ServedRoute) -> None:
        """A call that succeeded with its first event failed later. It counts as a failure, but not as another call."""
        breaker = self._breaker(route)
        if not breaker.opening:
            self._count_failure(breaker, is_new=False)

    def _succeeded(self, permit: Permit) -> None:
        breaker = self._breaker(permit.route)
        if not breaker.opening:
            breaker.count(failed=False, now=self._clock())
            return
        if permit.kind is PermitKind.ORDINARY:
            return  # an answer that was on its way since before the opening proves nothing
        breaker.close(why="it answers again")
        breaker.unpublished = breaker.lease_over = True
        self._wake.set()

    def _failed(self, permit: Permit) -> None:
        breaker = self._breaker(permit.route)
        if not breaker.opening:
            self._count_failure(breaker, is_new=True)
        elif permit.kind is PermitKind.PROBE:
            breaker.probing, breaker.lease_over = False, True
            self._open(breaker, opens=breaker.opens + 1, why="it failed again")

    def _dropped(self, permit: Permit) -> None:
        if permit.kind is PermitKind.PROBE:
            breaker = self._breaker(permit.route)
            breaker.probing, breaker.lease_over = False, True
            self._wake.set()

    def _breaker(self, route: ServedRoute) -> Breaker:
        breaker = self._breakers.get(route.upstream_id)
        if breaker is None:
            breaker = self._breakers[route.upstream_id] = Breaker(route.upstream_name)
            self._wake.set()  # other processes may know more of it
        return breaker

    def _count_failure(self, breaker: Breaker, *, is_new: bool) -> None:
        breaker.count(failed=True, now=self._clock(), is_new=is_new)
        if breaker.should_open():
            self._open(breaker, opens=1, why="it keeps failing")

    def _open(self, breaker: Breaker, *, opens: int, why: str) -> None:
        seconds = min(OPEN_SECONDS * 2 ** min(opens - 1, DOUBLINGS_MAX), OPEN_MAX_SECONDS)
        breaker.open(opening=secrets.token_hex(8), opens=opens, until=self._clock() + seconds, why=why)
        breaker.unpublished = True
        self._wake.set()

    async def _lease(self, upstream_id: int, breaker: Breaker) -> bool:
        """Takes the one place for a call that tries a half-open upstream. Without Valkey every process has one."""
        now = self._clock()
        if now < breaker.lease_asked_at + SYNC_SECONDS:
            return False  # it was taken a moment ago
        if now < self._away_until:
            return True
        try:
            async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
                leased = await self._client.set(
                    f"{key_of(upstream_id)}:probe", b"1", nx=True, px=self._lease_ms
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
            self._wake.clear()
            await self.sync()
            if last:
                return
            if self._clock() < self._away_until:
                await asyncio.sleep(VALKEY_RETRY_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._wake.wait()

    async def sync(self) -> None:
        """Publishes what happened here, and follows what happened elsewhere."""
        try:
            for upstream_id, breaker in list(self._breakers.items()):
                async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
                    await self._publish(key_of(upstream_id), breaker)
                    await self._follow(key_of(upstream_id), breaker)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
        else:
            if self._away_until:
                logger.warning("valkey back: breakers are shared again")
                self._away_until = 0.0

    async def _publish(self, key: str, breaker: Breaker) -> None:
        if breaker.unpublished:
            opening = breaker.opening
            if opening:
                seconds = max(0.0, breaker.open_until - self._clock()) + LINGER_SECONDS
                await self._client.set(key, f"{breaker.opens}:{opening}", px=int(seconds * 1000))
            else:
                await self._client.delete(key)
            if breaker.opening == opening:
                breaker.unpublished = False
        if breaker.lease_over:
            await self._client.delete(f"{key}:probe")
            breaker.lease_over = False

    async def _follow(self, key: str, breaker: Breaker) -> None:
        opening = breaker.opening
        value = await self._client.get(key)
        text = value.decode() if isinstance(value, bytes) else value or ""
        opens, _colon, published = text.partition(":")
        if published == opening:
            return
        # The time that remains, by Valkey's clock: machines need not agree on theirs.
        remaining_seconds = await self._client.pttl(key) / 1000 - LINGER_SECONDS if published else 0.0
        if breaker.unpublished or breaker.opening != opening:
            return  # it changed here meanwhile
        if published:
            breaker.open(
                opening=published,
                opens=int(opens),
                until=self._clock() + max(0.0, remaining_seconds),
                why="another process says so",
            )
        else:
            breaker.close(why="another process says so, or its time is over")

    def _lost(self, error: BaseException) -> None:
        if not self._away_until:
            logger.error("valkey away: breakers are kept per process", extra={"error": repr(error)})
        self._away_until = self._clock() + VALKEY_RETRY_SECONDS


def key_of(upstream_id: int) -> str:
    return f"hamiran:breaker:{upstream_id}"
