"""RPM, TPM and concurrency over any 60 seconds, of a key and of all keys of an account: one Lua call in Valkey, or
windows of our own without it.

Both follow the same rule. The request log and the token log of a key hold what happened in the last 60 seconds, those
of its account what all of its keys did; a request is admitted when one more fits all of them. A refused request does
not count. Tokens are counted as an estimate at admission and corrected when the answer's usage is known: in
place while the estimate is still in the window, else (an answer that took longer) as tokens used when it ended. A
request whose body is large is counted before that is read, and brings its tokens afterwards.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from prometheus_client import Counter

from proxy.limits.local_window import WINDOW_MS, Admission, Limits, LocalWindows, Window
from proxy.limits.scripts import ADMIT, FINISH, NOW, window_keys
from proxy.limits.valkey import Client, Script, ScriptQueue, Unavailable

logger = logging.getLogger(__name__)

WITHOUT_VALKEY = Counter(
    "hamiran_limits_without_valkey", "Requests whose limits were kept by this process alone"
)

VALKEY_RETRY_SECONDS = 1.0
UNREPORTED_MAX = 100_000


class Limiter:
    """The limits of one web process. Exact across processes while Valkey answers, per process while it does not."""

    def __init__(self, client: Client, *, running_seconds: int) -> None:
        self._scripts = ScriptQueue(client)
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
    ) -> Admission:
        """Counts one request of an estimated number of tokens, or refuses it.

        `limits` are the key's, `ceiling` is what all keys of the account may do together. A request that
        `is_counted` was admitted before, without its tokens, and brings them now; if refused, it counts no more.
        """
        now = time.monotonic()
        if now >= self._away_until:
            if self._away_until:  # this one tries Valkey; the others do not wait for it
                self._away_until = now + VALKEY_RETRY_SECONDS
            arguments: tuple[str | int, ...] = (
                *(request_id, tokens, self._running_seconds, int(is_counted)),
                *_bounds(limits, ceiling),
            )
            try:
                reply = await self._scripts.submit(ADMIT, _windows(user_id, key_id), arguments)
            except Unavailable as error:
                self._lost(error)
            except asyncio.CancelledError:
                self.finish(user_id=user_id, key_id=key_id, request_id=request_id, estimate=tokens, tokens=0)
                raise
            else:
                self._answered(now)
                return Admission(*reply)
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
        )

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

    def finish(
        self, *, user_id: int, key_id: int, request_id: str, estimate: int, tokens: int
    ) -> "asyncio.Future[None]":
        """Ends a request: frees its place and counts its true tokens instead of the estimate.

        The future is done, and never fails, once others can see it. What Valkey cannot be told now, it is told later.
        """
        if (windows := self._local.get(user_id)) is not None:
            windows.finish(key_id, request_id, estimate, tokens, now_ms=_now_ms())
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended = _Ended(_windows(user_id, key_id), (request_id, estimate, tokens), seen)
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

        self._scripts.submit(FINISH, ended.windows, ended.arguments).add_done_callback(told)

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


@dataclass(slots=True)
class _Ended:
    windows: tuple[str, ...]
    arguments: tuple[str, int, int]
    seen: "asyncio.Future[None]"


@lru_cache(maxsize=10_000)  # a request asks twice, and 3 µs each time are a hundredth of what it costs
def _windows(user_id: int, key_id: int) -> tuple[str, ...]:
    return (*window_keys(user_id, key_id), *window_keys(user_id))


@lru_cache(
    maxsize=10_000
)  # texts, of which a command is made in two thirds of the time that it takes of numbers
def _bounds(*limits: Limits) -> tuple[str, ...]:
    return tuple(str(number or 0) for each in limits for number in (each.rpm, each.tpm, each.concurrency))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
