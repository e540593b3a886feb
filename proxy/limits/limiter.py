"""RPM, TPM and concurrency over any 60 seconds, of a key and of all keys of an account, and both for a model that has
limits of its own; where a tier says so, requests and tokens by Tehran's day. One Lua call in Valkey, or windows of our
own without it.

Both follow the same rule. The request log and the token log of a key hold what happened in the last 60 seconds, those
of its account what all of its keys did; a request is admitted when one more fits all of them. A refused request does
not count. Tokens are counted as an estimate at admission and corrected when the answer's usage is known: in
place while the estimate is still in the window, else (an answer that took longer) as tokens used when it ended. A
request whose body is large is counted before that is read, and brings its tokens afterwards.

A day is counted likewise. What of it Valkey does not know (it is the first request of the day, or for ten minutes; all
data were lost; the limit is new) comes from the records, once, before the request is admitted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from prometheus_client import Counter

from proxy.limits import day, records
from proxy.limits.admission import PLAIN, Admission, Extent, Limits, Minute, ModelBounds, Window, extent
from proxy.limits.local_window import WINDOW_MS, DayBase, LocalWindows
from proxy.limits.scripts import ADMIT, FINISH, NOW, TODAY, UNSEEDED, day_key, day_logs, window_keys
from proxy.limits.valkey import Client, Script, ScriptQueue, Unavailable

logger = logging.getLogger(__name__)

WITHOUT_VALKEY = Counter(
    "hamiran_limits_without_valkey", "Requests whose limits were kept by this process alone"
)

VALKEY_RETRY_SECONDS = 1.0
UNREPORTED_MAX = 100_000
SEEDINGS = 3  # midnight can pass once while the records are asked


class Limiter:
    """The limits of one web process. Exact across processes while Valkey answers, per process while it does not."""

    def __init__(
        self, client: Client, *, running_seconds: int, recorded: day.Recorded = day.nothing_recorded
    ) -> None:
        self._scripts = ScriptQueue(client)
        self._records = records.Records(recorded)
        self._running_seconds = running_seconds
        self._away_until = 0.0
        self._away_requests = 0
        self._local: dict[int, LocalWindows] = {}  # by account
        self._local_until = 0.0  # when the last of them has run empty
        self._unreported: deque[_Ended] = deque(maxlen=UNREPORTED_MAX)  # for Valkey, when it is back

    @property
    def scripts(self) -> ScriptQueue:
        """What else is asked of this Valkey goes with the limits' own calls."""
        return self._scripts

    @property
    def is_away(self) -> bool:
        """Whether Valkey is left alone for now, because it did not answer."""
        return time.monotonic() < self._away_until

    async def admit(
        self,
        *,
        user_id: int,
        key_id: int,
        request_id: str,
        limits: Limits,
        ceiling: Limits,
        tokens: int,
        is_counted: bool = False,
        of_model: ModelBounds | None = None,
    ) -> Admission:
        """Counts one request of an estimated number of tokens, or refuses it.

        `limits` are the key's, `ceiling` is what all keys of the account may do together, `of_model` both for the
        model that is asked, where it has limits. A request that `is_counted` was admitted before, without its tokens
        and its model, and brings them now; if refused, it counts no more.

        Raises what reading the day's records raises.
        """
        now = time.monotonic()
        counted = extent(limits, ceiling, of_model)
        if now >= self._away_until:
            if self._away_until:  # this one tries Valkey; the others do not wait for it
                self._away_until = now + VALKEY_RETRY_SECONDS
            arguments: tuple[str | int, ...] = (
                *(request_id, tokens, self._running_seconds, int(is_counted)),
                *_bounds(limits, ceiling, of_model, counted.is_daily),
            )
            try:
                if counted is PLAIN:
                    reply = await self._scripts.submit(ADMIT, _windows(user_id, key_id), arguments)
                    admission = Admission(*reply)
                else:
                    admission = await self._admit_beyond(user_id, key_id, counted, arguments)
            except Unavailable as error:
                self._lost(error)
            except asyncio.CancelledError:
                self.finish(
                    user_id=user_id,
                    key_id=key_id,
                    request_id=request_id,
                    estimate=tokens,
                    tokens=0,
                    counted=counted,
                )
                raise
            else:
                self._answered(now)
                return admission
        base = await self._day_base(user_id, key_id, counted) if counted.is_daily else None
        self._away_requests += 1
        self._local_until = time.monotonic() + WINDOW_MS / 1000
        WITHOUT_VALKEY.inc()
        return self._local.setdefault(user_id, LocalWindows()).admit(
            key_id,
            request_id,
            tokens,
            limits=limits,
            ceiling=ceiling,
            is_counted=is_counted,
            now_ms=_now_ms(),
            of_model=of_model,
            day=base,
        )

    async def _admit_beyond(
        self, user_id: int, key_id: int, counted: Extent, arguments: tuple[str | int, ...]
    ) -> Admission:
        windows = _windows(user_id, key_id, counted)
        if counted.is_daily:
            count = len(arguments)
            bounds = 6 if not counted.model else 12
            arguments = (*arguments[: 4 + bounds], day.offset_ms(), *arguments[4 + bounds : count])
        seed: tuple[str | int, ...] = ()
        for _ in range(SEEDINGS):
            reply = await self._scripts.submit(ADMIT, windows, (*arguments, *seed))
            if reply[0] != UNSEEDED:
                return _read(reply, counted)
            _unseeded, now_ms, today = reply
            since_ms, found = await self._records.read(user_id, now_ms)
            uses = (number for use in records.uses(found, key_id, counted) for number in use)
            seed = (today, since_ms, *uses)
        raise Unavailable("the day's counts do not stay")

    async def _day_base(self, user_id: int, key_id: int, counted: Extent) -> DayBase:
        found = await self._records.lately(user_id)
        return DayBase(found, records.uses(found, key_id, counted), day.left_ms(datetime.now(UTC)))

    async def ask(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """What another script in the account's slot answers; None while Valkey is away."""
        if self.is_away:
            return None
        try:
            return await self._scripts.submit(script, keys, arguments)
        except Unavailable as error:
            self._lost(error)
            return None

    async def standing(self, *, user_id: int, key_id: int) -> tuple[Window, Window]:
        """What a key, and all keys of its account, did in the last 60 seconds and run now. Counts nothing."""
        found = await self.ask(NOW, _windows(user_id, key_id), ())
        if found is not None:
            key, account = found
            return Window(*key), Window(*account)
        return self._local.get(user_id, LocalWindows()).standing(key_id, now_ms=_now_ms())

    async def today(self, *, user_id: int, key_id: int, model: str = "") -> tuple[day.Use, day.Use]:
        """What a key, and all keys of its account, have used of the day; with one model, or with all."""
        names = [day_key(user_id, key_id, model), day_key(user_id, None, model)]
        reply = await self.ask(TODAY, names, (day.offset_ms(),))
        if reply is not None and all(use[0] >= 0 for use in reply[2]):
            key, account = reply[2]
            return day.Use(*key), day.Use(*account)
        found = await self._records.lately(user_id)
        return found.of(key_id, model), found.of(None, model)

    def finish(
        self,
        *,
        user_id: int,
        key_id: int,
        request_id: str,
        estimate: int,
        tokens: int,
        counted: Extent = PLAIN,
    ) -> "asyncio.Future[None]":
        """Ends a request: frees its place and counts its true tokens instead of the estimate.

        `counted` is what it was admitted with. The future is done, and never fails, once others can see it. What
        Valkey cannot be told now, it is told later.
        """
        if (windows := self._local.get(user_id)) is not None:
            windows.finish(key_id, request_id, estimate, tokens, now_ms=_now_ms(), model=counted.model)
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended = _Ended(
            _windows(user_id, key_id, counted), (request_id, estimate, tokens), seen, counted.is_daily
        )
        if time.monotonic() < self._away_until:
            self._postpone(ended)
        else:
            self._report(ended)
        return seen

    def _report(self, ended: "_Ended") -> None:
        def told(reply: "asyncio.Future[object]") -> None:
            if (error := reply.exception()) is not None:
                self._lost(error)
                self._postpone(ended)
            elif not ended.seen.done():
                ended.seen.set_result(None)

        arguments: tuple[str | int, ...] = ended.arguments
        if ended.is_daily:
            arguments = (*arguments, day.offset_ms(), _now_ms() - ended.at_ms)
        self._scripts.submit(FINISH, ended.windows, arguments).add_done_callback(told)

    def _postpone(self, ended: "_Ended") -> None:
        self._unreported.append(ended)
        if not ended.seen.done():
            ended.seen.set_result(None)

    def _lost(self, error: BaseException) -> None:
        if not self._away_until:
            logger.error("valkey away: limits are kept per process", extra={"error": str(error)})
        self._away_until = time.monotonic() + VALKEY_RETRY_SECONDS

    def _answered(self, now: float) -> None:
        if self._away_until:
            logger.warning(
                "valkey back: limits are shared again", extra={"served_without": self._away_requests}
            )
            self._away_until, self._away_requests = 0.0, 0
            unreported, self._unreported = self._unreported, deque(maxlen=UNREPORTED_MAX)
            for ended in unreported:  # frees places and counts tokens of what ended meanwhile
                self._report(ended)
        elif self._local and now >= self._local_until:
            # Not earlier: a server that comes and goes, or a part of a Cluster, would grant a new minute every time.
            self._local.clear()


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class _Ended:
    windows: tuple[str, ...]
    arguments: tuple[str, int, int]
    seen: "asyncio.Future[None]"
    is_daily: bool
    at_ms: int = field(default_factory=_now_ms)


def _read(reply: Sequence[int], counted: Extent) -> Admission:
    """What ADMIT says beyond an Admission's first six numbers."""
    told, rest = Admission(reply[0], reply[1], reply[2], reply[3], reply[4], reply[5]), reply[6:]
    if counted.model:
        told, rest = told._replace(of_model=Minute(*rest[:4])), rest[4:]
    if counted.is_daily:
        told = told._replace(day_left_ms=rest[0], day=day.Use(*rest[1:3]))
        if counted.model:
            told = told._replace(day_of_model=day.Use(*rest[3:5]))
    return told


# A request asks twice, and 3 µs each time are a hundredth of what it costs.
@lru_cache(maxsize=10_000)
def _windows(user_id: int, key_id: int, counted: Extent = PLAIN) -> tuple[str, ...]:
    whose = [(key_id, ""), (None, "")]
    if counted.model:
        whose += [(key_id, counted.model), (None, counted.model)]
    names = [name for key, model in whose for name in window_keys(user_id, key, model)]
    if counted.is_daily:
        names += [*(day_key(user_id, key, model) for key, model in whose), *day_logs(user_id)]
    return tuple(names)


# Texts, of which a command is made in two thirds of the time that it takes of numbers.
@lru_cache(maxsize=10_000)
def _bounds(limits: Limits, ceiling: Limits, of_model: ModelBounds | None, is_daily: bool) -> tuple[str, ...]:
    each = (limits, ceiling) if of_model is None else (limits, ceiling, of_model.limits, of_model.ceiling)
    minutes = [number or 0 for one in each for number in (one.rpm, one.tpm, one.concurrency)]
    days = [number or 0 for one in each for number in (one.rpd, one.tpd)] if is_daily else []
    return tuple(str(number) for number in (*minutes, *days))
