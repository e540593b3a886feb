"""The rule of the limits in one process, for the time without Valkey. Times are milliseconds of any steady clock."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice

from proxy.limits.admission import AT_ONCE, RPD, RPM, TPD, TPM, Admission, Limits, Minute, ModelBounds, Window
from proxy.limits.day import NOTHING, Use

WINDOW_MS = 60_000
BUSY_RETRY_MS = 1000  # nobody knows when a running request ends


@dataclass(frozen=True, slots=True)
class DayBase:
    """What the records say of the day, for each window, and how much of the day is left."""

    read: object  # another one means that it was read anew
    uses: tuple[Use, ...]
    left_ms: int


@dataclass(slots=True)
class LocalWindow:
    """What a key, or all keys of an account, did in the last 60 seconds, and of the day since its records were read."""

    requests: dict[str, int] = field(default_factory=dict)  # request: at, oldest first
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)  # request: (at, tokens), oldest first
    running: set[str] = field(default_factory=set)
    day: dict[str, int] = field(default_factory=dict)  # request: tokens
    day_base: Use = NOTHING
    day_read: object = None

    @property
    def used_tokens(self) -> int:
        return sum(count for _at, count in self.tokens.values())

    @property
    def day_used(self) -> Use:
        return Use(self.day_base.requests + len(self.day), self.day_base.tokens + sum(self.day.values()))

    def begin_day(self, base: Use, read: object) -> None:
        """What has ended is in the records by now."""
        if read is not self.day_read:
            self.day = {one: tokens for one, tokens in self.day.items() if one in self.running}
            self.day_base, self.day_read = base, read

    def wait_ms(
        self, limits: Limits, tokens: int, *, is_counted: bool, now_ms: int, day_left_ms: int = 0
    ) -> tuple[int, int]:
        """How long, and for which limit."""
        if tokens > limits.tpm:
            return -1, TPM
        wait, kind = 0, 0
        if len(self.requests) >= limits.rpm and not is_counted:
            wait, kind = _nth(self.requests, len(self.requests) - limits.rpm) + WINDOW_MS - now_ms, RPM
        over = self.used_tokens + tokens - limits.tpm
        for at, count in self.tokens.values():
            if over <= 0:
                break
            over -= count
            if over <= 0 and at + WINDOW_MS - now_ms > wait:
                wait, kind = at + WINDOW_MS - now_ms, TPM
        if limits.is_daily:
            if limits.tpd is not None and tokens > limits.tpd:
                return -1, TPD
            used = self.day_used
            is_full = limits.rpd is not None and used.requests >= limits.rpd and not is_counted
            if is_full and day_left_ms > wait:
                wait, kind = day_left_ms, RPD
            is_full = limits.tpd is not None and used.tokens + tokens > limits.tpd
            if is_full and day_left_ms > wait:
                wait, kind = day_left_ms, TPD
        is_busy = limits.concurrency and len(self.running) >= limits.concurrency and not is_counted
        return (BUSY_RETRY_MS, AT_ONCE) if wait == 0 and is_busy else (wait, kind)

    def count(self, request_id: str, tokens: int, *, is_counted: bool, now_ms: int) -> None:
        self.tokens.pop(request_id, None)
        self.tokens[request_id] = (now_ms, tokens)
        if not is_counted:
            self.requests[request_id] = now_ms
        self.running.add(request_id)
        if self.day_read is not None:
            self.day[request_id] = tokens

    def withdraw(self, request_id: str) -> None:
        self.requests.pop(request_id, None)
        self.tokens.pop(request_id, None)
        self.running.discard(request_id)
        self.day.pop(request_id, None)

    def finish(self, request_id: str, estimate: int, tokens: int, *, now_ms: int) -> None:
        if request_id not in self.running:
            return
        self.forget(now_ms)
        self.running.discard(request_id)
        if request_id in self.tokens:
            self.tokens[request_id] = (self.tokens[request_id][0], tokens)
        elif tokens > estimate:
            self.tokens[request_id] = (now_ms, tokens - estimate)
        if request_id in self.day:
            self.day[request_id] = tokens

    def forget(self, now_ms: int) -> None:
        edge = now_ms - WINDOW_MS
        while self.requests and _nth(self.requests, 0) <= edge:
            del self.requests[next(iter(self.requests))]
        for request_id in [one for one, (at, _count) in self.tokens.items() if at <= edge]:
            del self.tokens[request_id]

    def minute(self, now_ms: int) -> Minute:
        oldest_tokens = next(iter(self.tokens.values()), (now_ms - WINDOW_MS, 0))[0]
        return Minute(
            requests=len(self.requests),
            tokens=self.used_tokens,
            requests_reset_ms=_nth(self.requests, 0) + WINDOW_MS - now_ms if self.requests else 0,
            tokens_reset_ms=oldest_tokens + WINDOW_MS - now_ms,
        )


def _nth(requests: dict[str, int], number: int) -> int:
    return next(islice(requests.values(), number, None))


@dataclass(slots=True)
class LocalWindows:
    """The windows of one account and of its keys, and of both for single models."""

    account: LocalWindow = field(default_factory=LocalWindow)
    keys: defaultdict[int, LocalWindow] = field(default_factory=lambda: defaultdict(LocalWindow))
    models: defaultdict[tuple[int | None, str], LocalWindow] = field(
        default_factory=lambda: defaultdict(LocalWindow)
    )

    def _windows(self, key_id: int, model: str) -> list[LocalWindow]:
        plain = [self.keys[key_id], self.account]
        return [*plain, self.models[key_id, model], self.models[None, model]] if model else plain

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
        of_model: ModelBounds | None = None,
        day: DayBase | None = None,
    ) -> Admission:
        windows = self._windows(key_id, of_model.model if of_model else "")
        bounds = [limits, ceiling, *(of_model[1:] if of_model else ())]
        joins = [is_counted, is_counted, False, False]  # a model's windows see it first with its tokens
        for number, window in enumerate(windows):
            window.forget(now_ms)
            if day is not None:
                window.begin_day(day.uses[number], day.read)
        day_left_ms = 0 if day is None else day.left_ms
        wait = refused_by = 0
        if not (is_counted and windows[-2].tokens.get(request_id, (0, -1))[1] == tokens):
            for number, window in enumerate(windows):
                needs, kind = window.wait_ms(
                    bounds[number], tokens, is_counted=joins[number], now_ms=now_ms, day_left_ms=day_left_ms
                )
                if wait >= 0 and (needs < 0 or needs > wait):
                    wait, refused_by = needs, (number + 1) * 10 + kind
            for number, window in enumerate(windows):
                if wait == 0:
                    window.count(request_id, tokens, is_counted=joins[number], now_ms=now_ms)
                elif joins[number]:
                    window.withdraw(request_id)
        return Admission(
            wait,
            *windows[0].minute(now_ms),
            refused_by,
            of_model=windows[2].minute(now_ms) if of_model else None,
            day_left_ms=day_left_ms,
            day=NOTHING if day is None else windows[0].day_used,
            day_of_model=windows[2].day_used if day is not None and of_model else NOTHING,
        )

    def standing(self, key_id: int, *, now_ms: int) -> tuple[Window, Window]:
        """Where the key and the account stand."""
        found = []
        for window in (self.keys[key_id], self.account):
            window.forget(now_ms)
            found.append(Window(len(window.requests), window.used_tokens, len(window.running)))
        return found[0], found[1]

    def finish(
        self, key_id: int, request_id: str, estimate: int, tokens: int, *, now_ms: int, model: str = ""
    ) -> None:
        for window in self._windows(key_id, model):
            window.finish(request_id, estimate, tokens, now_ms=now_ms)
