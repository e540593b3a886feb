"""What limits a request is measured by, and what comes of it: in numbers, and in the names of headers. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from proxy.limits.day import NOTHING, Use

ANY_NUMBER = 2**53  # in place of a limit that is not set: more than anybody reaches, and exact in Lua
REFUSED_BY = (
    "",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
    "requests_per_day",
    "tokens_per_day",
)
RPM, TPM, AT_ONCE, RPD, TPD = range(1, 6)


class Limits(NamedTuple):
    rpm: int
    tpm: int
    concurrency: int | None
    rpd: int | None = None
    tpd: int | None = None

    @property
    def is_daily(self) -> bool:
        return self.rpd is not None or self.tpd is not None


class ModelBounds(NamedTuple):
    """What a key, and all keys of its account, may ask of one model; ANY_NUMBER where that is not limited."""

    model: str
    limits: Limits
    ceiling: Limits


class Extent(NamedTuple):
    """What of a request is counted beside the minutes of its key and its account."""

    model: str = ""
    is_daily: bool = False


PLAIN = Extent()


def extent(limits: Limits, ceiling: Limits, of_model: ModelBounds | None) -> Extent:
    is_daily = limits.is_daily or ceiling.is_daily
    if of_model is None:
        return Extent("", is_daily) if is_daily else PLAIN
    return Extent(of_model.model, is_daily or of_model.limits.is_daily or of_model.ceiling.is_daily)


class Minute(NamedTuple):
    """What of a minute is used; the resets say when the oldest counted request and tokens leave it."""

    requests: int
    tokens: int
    requests_reset_ms: int
    tokens_reset_ms: int


class Admission(NamedTuple):
    """Where a key stands after a request was admitted or refused.

    `retry_after_ms` is 0 when admitted, -1 when the request alone is larger than a limit. The resets say when the
    oldest counted request and tokens leave the window. `refused_by` is ten times the number of the windows (1 the
    key's, 2 the account's, 3 and 4 both for the model), and which limit of REFUSED_BY. `of_model`: what the key has
    asked of its model, where that has limits; `day`: what of the day is used, likewise (`day_of_model`).
    """

    retry_after_ms: int
    requests: int
    tokens: int
    requests_reset_ms: int
    tokens_reset_ms: int
    refused_by: int = 0
    of_model: Minute | None = None
    day_left_ms: int = 0
    day: Use = NOTHING
    day_of_model: Use = NOTHING

    @property
    def refused_by_day(self) -> bool:
        return self.refused_by % 10 >= RPD

    def told(self, limits: Limits, of_model: ModelBounds | None = None) -> dict[str, tuple[int, int, int]]:
        """By the names of headers: the limit, what is left of it, and in how many milliseconds it is whole again.

        Where the model has a limit of its own, the one of which less is left.
        """
        resets = self.requests_reset_ms, self.tokens_reset_ms
        found = {
            "requests": (limits.rpm, max(0, limits.rpm - self.requests), resets[0]),
            "tokens": (limits.tpm, max(0, limits.tpm - self.tokens), resets[1]),
        }
        if of_model is None and not limits.is_daily:
            return found
        bounds = limits if of_model is None else of_model.limits
        if self.of_model is not None:
            one = self.of_model
            _tighten(found, "requests", bounds.rpm, one.requests, one.requests_reset_ms)
            _tighten(found, "tokens", bounds.tpm, one.tokens, one.tokens_reset_ms)
        for each, use in ((limits, self.day), (bounds, self.day_of_model if of_model else self.day)):
            _tighten(found, "requests-day", each.rpd, use.requests, self.day_left_ms)
            _tighten(found, "tokens-day", each.tpd, use.tokens, self.day_left_ms)
        return found

    def headers(self, limits: Limits, of_model: ModelBounds | None = None) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, (limit, remaining, reset_ms) in self.told(limits, of_model).items():
            found[f"x-ratelimit-limit-{name}"] = str(limit)
            found[f"x-ratelimit-remaining-{name}"] = str(remaining)
            found[f"x-ratelimit-reset-{name}"] = duration(reset_ms)
        return found


def _tighten(
    found: dict[str, tuple[int, int, int]], name: str, limit: int | None, used: int, reset_ms: int
) -> None:
    if limit is not None and limit < ANY_NUMBER:
        told = limit, max(0, limit - used), reset_ms
        if name not in found or told[1] < found[name][1]:
            found[name] = told


@dataclass(frozen=True, slots=True)
class Window:
    """What was used of the last 60 seconds, and how many requests run now (where these are limited)."""

    requests: int
    tokens: int
    running: int


def duration(milliseconds: int) -> str:
    """As OpenAI writes them: `250ms`, `1.5s`, `1m0s`.

    >>> duration(0), duration(250), duration(1000), duration(59_990), duration(60_000), duration(36_061_000)
    ('0s', '250ms', '1s', '59.99s', '1m0s', '10h1m1s')
    """
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:g}s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"
