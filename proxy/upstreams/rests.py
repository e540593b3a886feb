"""Models that rest: an upstream keeps refusing one with 429, and all web processes leave it alone together.

A model rests after REFUSALS_MIN refusals in a row over SUSTAINED_SECONDS, for as long as the upstream asked for,
REST_SECONDS at least and REST_MAX_SECONDS at most. Then one call over all processes tries it: an answer ends the rest
everywhere, another 429 begins the next, at least twice as long as the one before. An admin can end it, too.

Rests stand in one hash of Valkey, with their end by Valkey's clock, since machines need not agree on theirs. Every
process reads it within SYNC_SECONDS. Without Valkey each process has its own.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import redis.asyncio
from prometheus_client import Gauge
from redis.exceptions import RedisError

from proxy.catalogue.served import ServedRoute

logger = logging.getLogger(__name__)

RESTING = Gauge(
    "hamiran_model_resting",
    "1 while a model of an upstream rests after a sustained 429",
    ["upstream", "model"],
    multiprocess_mode="livemax",
)

HASH = "hamiran:rests"
REFUSALS_MIN, SUSTAINED_SECONDS = 5, 3.0
REST_SECONDS, REST_MAX_SECONDS = 5.0, 300.0
DOUBLINGS_MAX = 6  # past REST_MAX_SECONDS
TRY_SECONDS = 5.0  # after which another call may try, if the one that tries has not ended
LINGER_SECONDS = 180.0  # how long an ended rest that nobody tried is remembered
SYNC_SECONDS = 0.5
VALKEY_TIMEOUT_SECONDS, VALKEY_RETRY_SECONDS = 0.5, 1.0

Key = tuple[int, str]  # upstream id, the model's name there


@dataclass(frozen=True, slots=True)
class Told:
    """A rest as Valkey has it.

    `upstream`: its name. `until`: epoch seconds by Valkey's clock. `times`: which rest in a row it is.
    `asked_seconds`: what the upstream asked for, if anything.
    """

    id: str
    upstream: str
    until: float
    times: int
    refusals: int
    asked_seconds: float | None

    def encoded(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decoded(cls, text: bytes | str) -> "Told":
        """Raises ValueError."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:  # of another version
            raise ValueError(str(error)) from None


def field_of(key: Key) -> str:
    upstream_id, model = key
    return f"{upstream_id}:{model}"


def key_of(name: bytes | str) -> Key:
    upstream_id, _colon, model = (name.decode() if isinstance(name, bytes) else name).partition(":")
    return int(upstream_id), model


@dataclass(slots=True)
class Rest:
    """One as this process knows it; `until` and `next_try` by its own clock."""

    id: str
    upstream: str
    until: float
    times: int
    refusals: int
    asked_seconds: float | None
    next_try: float = 0.0
    unpublished: bool = False


@dataclass(slots=True)
class Refusals:
    """429s in a row of a model that does not rest."""

    since: float
    count: int = 0


class Rests:
    """Those of one web process. `clock` gives seconds that only grow."""

    def __init__(self, client: redis.asyncio.Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._rests: dict[Key, Rest] = {}
        self._refusals: dict[Key, Refusals] = {}
        self._ended: set[Key] = set()  # of which Valkey does not know yet
        self._ahead = 0.0  # Valkey's clock less this one
        self._away_until = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_synced(), name="rests")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=VALKEY_RETRY_SECONDS)
            self._task = None

    def seconds_left(self, route: ServedRoute) -> float | None:
        """How long it still rests, 0 while it is tried again; None: it does not rest."""
        rest = self._rests.get(_key(route))
        return None if rest is None else max(0.0, rest.until - self._clock())

    async def admits(self, route: ServedRoute) -> bool:
        """Whether a call may go there. When a rest is over, one call over all processes goes ahead alone."""
        rest = self._rests.get(_key(route))
        if rest is None:
            return True
        now = self._clock()
        if now < max(rest.until, rest.next_try):
            return False
        rest.next_try = now + TRY_SECONDS
        if now < self._away_until:
            return True
        try:
            async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
                name = f"{HASH}:{field_of(_key(route))}:{rest.id}"
                return bool(await self._client.set(name, b"1", nx=True, px=int(TRY_SECONDS * 1000)))
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return True

    def refused(self, route: ServedRoute, *, seconds: float | None) -> bool:
        """Hears of a 429, with what the upstream asked for, if anything; whether the model rests."""
        key, now = _key(route), self._clock()
        rest = self._rests.get(key)
        if rest is not None:
            if now >= rest.until:  # else it was on its way since before the rest
                self._begin(route, times=rest.times + 1, refusals=rest.refusals + 1, seconds=seconds)
            return True
        refusals = self._refusals.setdefault(key, Refusals(since=now))
        refusals.count += 1
        if refusals.count < REFUSALS_MIN or now - refusals.since < SUSTAINED_SECONDS:
            return False
        self._begin(route, times=1, refusals=refusals.count, seconds=seconds)
        return True

    def answered(self, route: ServedRoute) -> None:
        """Hears of an answer: the model is within its limits."""
        key = _key(route)
        self._refusals.pop(key, None)
        rest = self._rests.get(key)
        if rest is not None and self._clock() >= rest.until:
            self._end(key, why="it answers again")
            self._ended.add(key)
            self._wake.set()

    def _begin(self, route: ServedRoute, *, times: int, refusals: int, seconds: float | None) -> None:
        least = REST_SECONDS * 2 ** min(times - 1, DOUBLINGS_MAX)
        rest = Rest(
            id=secrets.token_hex(8),
            upstream=route.upstream_name,
            until=self._clock() + min(max(least, seconds or 0.0), REST_MAX_SECONDS),
            times=times,
            refusals=refusals,
            asked_seconds=seconds,
            unpublished=True,
        )
        self._ended.discard(_key(route))
        self._enter(_key(route), rest, why="it keeps answering 429")
        self._wake.set()

    def _enter(self, key: Key, rest: Rest, *, why: str) -> None:
        self._rests[key] = rest
        self._refusals.pop(key, None)
        RESTING.labels(rest.upstream, key[1]).set(1)
        logger.warning(
            "model rests",
            extra={
                "upstream": rest.upstream,
                "upstream_model": key[1],
                "seconds": round(rest.until - self._clock(), 1),
                "reason": why,
            },
        )

    def _end(self, key: Key, *, why: str) -> None:
        rest = self._rests.pop(key)
        RESTING.labels(rest.upstream, key[1]).set(0)
        logger.info(
            "model rests no more",
            extra={"upstream": rest.upstream, "upstream_model": key[1], "reason": why},
        )

    async def _keep_synced(self) -> None:
        while True:
            self._wake.clear()
            await self.sync()
            if self._clock() < self._away_until:
                await asyncio.sleep(VALKEY_RETRY_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._wake.wait()

    async def sync(self) -> None:
        """Publishes what happened here, and follows what happened elsewhere."""
        try:
            async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
                seconds, micros = await self._client.time()
                self._ahead = seconds + micros / 1e6 - self._clock()
                await self._publish()
                told = await self._client.hgetall(HASH)
                await self._follow(told)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
        else:
            self._away_until = 0.0

    async def _publish(self) -> None:
        for key, rest in list(self._rests.items()):
            if rest.unpublished:
                until = rest.until + self._ahead
                told = Told(rest.id, rest.upstream, until, rest.times, rest.refusals, rest.asked_seconds)
                await self._client.hset(HASH, field_of(key), told.encoded())
                rest.unpublished = False
        for key in list(self._ended):
            await self._client.hdel(HASH, field_of(key))
            self._ended.discard(key)

    async def _follow(self, told: Mapping[Any, Any]) -> None:
        found: set[Key] = set()
        for name, text in told.items():
            key = key_of(name)
            try:
                other = Told.decoded(text)
            except ValueError:
                continue
            until = other.until - self._ahead
            if self._clock() > until + LINGER_SECONDS:
                await self._client.hdel(HASH, name.decode())
                continue
            found.add(key)
            mine = self._rests.get(key)
            if key in self._ended or (mine is not None and (mine.unpublished or mine.id == other.id)):
                continue
            rest = Rest(other.id, other.upstream, until, other.times, other.refusals, other.asked_seconds)
            self._enter(key, rest, why="another process says so")
        for key, rest in list(self._rests.items()):
            if key not in found and not rest.unpublished:
                self._end(key, why="another process or an admin says so, or its time is over")

    def _lost(self, error: BaseException) -> None:
        if not self._away_until:
            logger.error("valkey away: rests are kept per process", extra={"error": repr(error)})
        self._away_until = self._clock() + VALKEY_RETRY_SECONDS


def _key(route: ServedRoute) -> Key:
    return route.upstream_id, route.upstream_model
