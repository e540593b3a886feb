"""The rule of the limits in one process, for the time without Valkey. Times are milliseconds of any steady clock."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

WINDOW_MS = 60_000
BUSY_RETRY_MS = 1000  # nobody knows when a running request ends


class Limits(NamedTuple):
    rpm: int
    tpm: int
    concurrency: int | None


class Admission(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Window:
    """What was used of the last 60 seconds, and how many requests run now (where these are limited)."""

    requests: int
    tokens: int
    running: int


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


@dataclass(slots=True)
class LocalWindow:
    """What a key, or all keys of an account, did in the last 60 seconds."""

    requests: dict[str, int] = field(default_factory=dict)  # request: at, oldest first
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)  # request: (at, tokens), oldest first
    running: set[str] = field(default_factory=set)

    @property
    def used_tokens(self) -> int:
        return sum(count for _at, count in self.tokens.values())

    def wait_ms(self, limits: Limits, tokens: int, *, is_counted: bool, now_ms: int) -> int:
        if tokens > limits.tpm:
            return -1
        wait = 0
        if len(self.requests) >= limits.rpm and not is_counted:
            wait = _nth(self.requests, len(self.requests) - limits.rpm) + WINDOW_MS - now_ms
        over = self.used_tokens + tokens - limits.tpm
        for at, count in self.tokens.values():
            if over <= 0:
                break
            over -= count
            wait = max(wait, at + WINDOW_MS - now_ms)
        is_busy = limits.concurrency and len(self.running) >= limits.concurrency and not is_counted
        return BUSY_RETRY_MS if wait == 0 and is_busy else wait

    def count(self, request_id: str, tokens: int, *, is_counted: bool, now_ms: int) -> None:
        self.tokens.pop(request_id, None)
        self.tokens[request_id] = (now_ms, tokens)
        if not is_counted:
            self.requests[request_id] = now_ms
        self.running.add(request_id)

    def withdraw(self, request_id: str) -> None:
        self.requests.pop(request_id, None)
        self.tokens.pop(request_id, None)
        self.running.discard(request_id)

    def finish(self, request_id: str, estimate: int, tokens: int, *, now_ms: int) -> None:
        if request_id not in self.running:
            return
        self.forget(now_ms)
        self.running.discard(request_id)
        if request_id in self.tokens:
            self.tokens[request_id] = (self.tokens[request_id][0], tokens)
        elif tokens > estimate:
            self.tokens[request_id] = (now_ms, tokens - estimate)

    def forget(self, now_ms: int) -> None:
        edge = now_ms - WINDOW_MS
        while self.requests and _nth(self.requests, 0) <= edge:
            del self.requests[next(iter(self.requests))]
        for request_id in [one for one, (at, _count) in self.tokens.items() if at <= edge]:
            del self.tokens[request_id]


def _nth(requests: dict[str, int], number: int) -> int:
    return next(islice(requests.values(), number, None))


@dataclass(slots=True)
class LocalWindows:
    """The windows of one account and of its keys."""

    account: LocalWindow = field(default_factory=LocalWindow)
    keys: defaultdict[int, LocalWindow] = field(default_factory=lambda: defaultdict(LocalWindow))

    def admit(
        self,
        key_id: int,
        request_id: str,
        tokens: int,
        *,
        limits: Limits,
        ceiling: Limits,
        is_counted: bool,
        now_ms: int,
    ) -> Admission:
        key = self.keys[key_id]
        bounds = [(key, limits), (self.account, ceiling)]
        waits = []
        for window, limit in bounds:
            window.forget(now_ms)
            waits.append(window.wait_ms(limit, tokens, is_counted=is_counted, now_ms=now_ms))
        wait = -1 if -1 in waits else max(waits)
        if is_counted and key.tokens.get(request_id, (0, -1))[1] == tokens:
            wait, bounds = 0, []  # it has brought them already
        for window, _limit in bounds:
            if wait == 0:
                window.count(request_id, tokens, is_counted=is_counted, now_ms=now_ms)
            elif is_counted:
                window.withdraw(request_id)
        oldest_tokens = next(iter(key.tokens.values()), (now_ms - WINDOW_MS, 0))[0]
        return Admission(
            retry_after_ms=wait,
            requests=len(key.requests),
            tokens=key.used_tokens,
            requests_reset_ms=_nth(key.requests, 0) + WINDOW_MS - now_ms if key.requests else 0,
            tokens_reset_ms=oldest_tokens + WINDOW_MS - now_ms,
        )

    def standing(self, key_id: int, *, now_ms: int) -> tuple[Window, Window]:
        """Where the key and the account stand."""
        found = []
        for window in (self.keys[key_id], self.account):
            window.forget(now_ms)
            found.append(Window(len(window.requests), window.used_tokens, len(window.running)))
        return found[0], found[1]

    def finish(self, key_id: int, request_id: str, estimate: int, tokens: int, *, now_ms: int) -> None:
        for window in (self.keys[key_id], self.account):
            window.finish(request_id, estimate, tokens, now_ms=now_ms)
