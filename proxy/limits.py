"""RPM, TPM and concurrency per key over any 60 seconds: one Lua call in Valkey, or a window of our own without it.

Both follow the same rule. The request log and the token log of a key hold what happened in the last 60 seconds;
a request is admitted when one more fits both. Nothing is counted for a refused request. Tokens are counted as an
estimate at admission and corrected when the answer's usage is known: in place while the estimate is still in the
window, else (an answer that took longer) as tokens used when it ended.
"""

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field

from prometheus_client import Counter

from proxy.valkey import Client, Script, ScriptQueue, Unavailable

logger = logging.getLogger(__name__)

WITHOUT_VALKEY = Counter(
    "hamiran_limits_without_valkey", "Requests whose limits were kept by this process alone"
)

WINDOW_MS = 60_000
VALKEY_RETRY_SECONDS = 1.0
OWED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    rpm: int
    tpm: int
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Admission:
    """Where a key stands after a request was admitted or refused.

    `retry_after_ms` is 0 when admitted, -1 when the request alone is larger than the token limit. The resets say
    when the oldest counted request and tokens leave the window.
    """

    retry_after_ms: int
    requests: int
    tokens: int
    requests_reset_ms: int
    tokens_reset_ms: int

    def headers(self, limits: Limits) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(limits.rpm),
            "x-ratelimit-limit-tokens": str(limits.tpm),
            "x-ratelimit-remaining-requests": str(max(0, limits.rpm - self.requests)),
            "x-ratelimit-remaining-tokens": str(max(0, limits.tpm - self.tokens)),
            "x-ratelimit-reset-requests": duration(self.requests_reset_ms),
            "x-ratelimit-reset-tokens": duration(self.tokens_reset_ms),
        }


def duration(milliseconds: int) -> str:
    """As OpenAI writes them: `250ms`, `1.5s`, `1m0s`.

    >>> duration(0), duration(250), duration(1000), duration(59_990), duration(60_000)
    ('0s', '250ms', '1s', '59.99s', '1m0s')
    """
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds


# KEYS: request log, token log, token sum, running requests (one hash tag). A token entry is "<request>:<tokens>".
# Carried out twice (a reply can be lost, and a Cluster's client tries again), either script counts once.
ADMIT = Script(
    """
local function reset(log, now)
    local oldest = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')
    return oldest[2] and oldest[2] + 60000 - now or 0
end
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local id, rpm, tpm, most, tokens, seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]),
    tonumber(ARGV[5]), tonumber(ARGV[6])
local edge = now - 60000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', edge)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', edge)
if #gone > 0 then
    local sum = 0
    for _, entry in ipairs(gone) do sum = sum + tonumber(string.match(entry, ':(%-?%d+)$')) end
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', edge)
    redis.call('DECRBY', KEYS[3], sum)
end
local requests, used = redis.call('ZCARD', KEYS[1]), tonumber(redis.call('GET', KEYS[3]) or '0')
if redis.call('ZSCORE', KEYS[1], id) then
    return {0, requests, used, reset(KEYS[1], now), reset(KEYS[2], now)}
end
local wait = 0
if requests >= rpm then
    local first = redis.call('ZRANGE', KEYS[1], requests - rpm, requests - rpm, 'WITHSCORES')
    wait = tonumber(first[2]) + 60000 - now
end
if tokens > tpm then
    wait = -1
elseif used + tokens > tpm then
    local over, at = used + tokens - tpm, 0
    while over > 0 do
        local page = redis.call('ZRANGE', KEYS[2], at, at + 63, 'WITHSCORES')
        if #page == 0 then break end
        for i = 1, #page, 2 do
            over = over - tonumber(string.match(page[i], ':(%-?%d+)$'))
            if over <= 0 then wait = math.max(wait, tonumber(page[i + 1]) + 60000 - now); break end
        end
        at = at + 64
    end
end
if wait == 0 and most > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
    if redis.call('ZCARD', KEYS[4]) >= most then wait = 1000 end
end
if wait == 0 then
    redis.call('ZADD', KEYS[1], now, id)
    redis.call('ZADD', KEYS[2], now, id .. ':' .. tokens)
    used = redis.call('INCRBY', KEYS[3], tokens)
    requests = requests + 1
    for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], 61000) end
    if most > 0 then
        redis.call('ZADD', KEYS[4], now + seconds * 1000, id)
        redis.call('PEXPIRE', KEYS[4], seconds * 1000)
    end
end
return {wait, requests, used, reset(KEYS[1], now), reset(KEYS[2], now)}
"""
)
FINISH = Script(
    """
local id, estimate, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREM', KEYS[4], id)
if estimate == tokens then return 0 end
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local entry = id .. ':' .. estimate
local score = redis.call('ZSCORE', KEYS[2], entry)
if score and tonumber(score) > now - 60000 then
    redis.call('ZREM', KEYS[2], entry)
    redis.call('DECRBY', KEYS[3], estimate)
elseif redis.call('ZSCORE', KEYS[2], id .. ':' .. tokens) then
    return 0
elseif tokens > estimate then
    id, score, tokens = id .. '+', now, tokens - estimate  -- beside the estimate, which leaves by itself
else
    return 0
end
if redis.call('ZADD', KEYS[2], 'NX', score, id .. ':' .. tokens) == 1 then redis.call('INCRBY', KEYS[3], tokens) end
redis.call('PEXPIRE', KEYS[2], 61000)
redis.call('PEXPIRE', KEYS[3], 61000)
return 1
"""
)


class Limiter:
    """The limits of one web process. Exact across processes while Valkey answers, per process while it does not."""

    def __init__(self, client: Client, *, running_seconds: int) -> None:
        self._scripts = ScriptQueue(client)
        self._running_seconds = running_seconds
        self._away_until = 0.0
        self._away_requests = 0
        self._local: dict[int, LocalWindow] = {}
        self._local_until = 0.0  # when nothing is left in them
        self._owed: deque[_Ended] = deque(maxlen=OWED_MAX)

    async def admit(self, *, key_id: int, request_id: str, limits: Limits, tokens: int) -> Admission:
        """Counts one request of an estimated number of tokens, or refuses it."""
        now = time.monotonic()
        if now >= self._away_until:
            if self._away_until:  # one tries it, and the others are not kept waiting
                self._away_until = now + VALKEY_RETRY_SECONDS
            arguments = (
                request_id,
                limits.rpm,
                limits.tpm,
                limits.concurrency or 0,
                tokens,
                self._running_seconds,
            )
            try:
                reply = await self._scripts.submit(ADMIT, window_keys(key_id), arguments)
            except Unavailable as error:
                self._lost(error)
            except asyncio.CancelledError:
                self.finish(key_id=key_id, request_id=request_id, estimate=tokens, tokens=0)
                raise
            else:
                self._answered(now)
                return Admission(*reply)
        self._away_requests += 1
        self._local_until = time.monotonic() + WINDOW_MS / 1000
        WITHOUT_VALKEY.inc()
        return self._window(key_id).admit(request_id, limits, tokens, now_ms=_now_ms())

    def finish(self, *, key_id: int, request_id: str, estimate: int, tokens: int) -> "asyncio.Future[None]":
        """Ends a request: frees its place and counts its true tokens instead of the estimate.

        The future is done, and never fails, once others can see it; what Valkey does not hear now it is told later.
        """
        if (window := self._local.get(key_id)) is not None:
            window.finish(request_id, estimate, tokens, now_ms=_now_ms())
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended = _Ended(key_id, (request_id, estimate, tokens), seen)
        if time.monotonic() < self._away_until:
            self._owe(ended)
        else:
            self._tell(ended)
        return seen

    def _tell(self, ended: "_Ended") -> None:
        def told(reply: "asyncio.Future[object]") -> None:
            if (error := reply.exception()) is not None:
                self._lost(error)
                self._owe(ended)
            elif not ended.seen.done():
                ended.seen.set_result(None)

        self._scripts.submit(FINISH, window_keys(ended.key_id), ended.arguments).add_done_callback(told)

    def _owe(self, ended: "_Ended") -> None:
        self._owed.append(ended)
        if not ended.seen.done():
            ended.seen.set_result(None)

    def _window(self, key_id: int) -> "LocalWindow":
        return self._local.setdefault(key_id, LocalWindow())

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
            owed, self._owed = self._owed, deque(maxlen=OWED_MAX)
            for ended in owed:  # frees places and counts tokens of what ended meanwhile
                self._tell(ended)
        elif self._local and now >= self._local_until:
            # Not earlier: a server that comes and goes, or one of a Cluster, would give a new minute every time.
            self._local.clear()


@dataclass(frozen=True, slots=True)
class _Ended:
    key_id: int
    arguments: tuple[str, int, int]
    seen: "asyncio.Future[None]"


def window_keys(key_id: int) -> list[str]:
    """Where Valkey keeps a key's request log, token log, token sum and running requests."""
    tag = f"hamiran:{{{key_id}}}"
    return [f"{tag}:requests", f"{tag}:tokens", f"{tag}:sum", f"{tag}:running"]


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class LocalWindow:
    """The rule above for one key in one process. Times are milliseconds of any steady clock."""

    requests: deque[int] = field(default_factory=deque)
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)  # request: (at, tokens), oldest first
    running: set[str] = field(default_factory=set)

    def admit(self, request_id: str, limits: Limits, tokens: int, *, now_ms: int) -> Admission:
        self._forget(now_ms)
        used = sum(count for _at, count in self.tokens.values())
        wait = self._wait(limits, tokens, used, now_ms)
        if wait == 0:
            self.requests.append(now_ms)
            self.tokens[request_id] = (now_ms, tokens)
            self.running.add(request_id)
            used += tokens
        oldest_tokens = next(iter(self.tokens.values()), (now_ms - WINDOW_MS, 0))[0]
        return Admission(
            retry_after_ms=wait,
            requests=len(self.requests),
            tokens=used,
            requests_reset_ms=self.requests[0] + WINDOW_MS - now_ms if self.requests else 0,
            tokens_reset_ms=oldest_tokens + WINDOW_MS - now_ms,
        )

    def finish(self, request_id: str, estimate: int, tokens: int, *, now_ms: int) -> None:
        if request_id not in self.running:
            return
        self._forget(now_ms)
        self.running.discard(request_id)
        if request_id in self.tokens:
            self.tokens[request_id] = (self.tokens[request_id][0], tokens)
        elif tokens > estimate:
            self.tokens[request_id] = (now_ms, tokens - estimate)

    def _wait(self, limits: Limits, tokens: int, used: int, now_ms: int) -> int:
        if tokens > limits.tpm:
            return -1
        wait = 0
        if len(self.requests) >= limits.rpm:
            wait = self.requests[len(self.requests) - limits.rpm] + WINDOW_MS - now_ms
        over = used + tokens - limits.tpm
        for at, count in self.tokens.values():
            if over <= 0:
                break
            over -= count
            wait = max(wait, at + WINDOW_MS - now_ms)
        if wait == 0 and limits.concurrency and len(self.running) >= limits.concurrency:
            return 1000
        return wait

    def _forget(self, now_ms: int) -> None:
        edge = now_ms - WINDOW_MS
        while self.requests and self.requests[0] <= edge:
            self.requests.popleft()
        for request_id in [one for one, (at, _count) in self.tokens.items() if at <= edge]:
            del self.tokens[request_id]
