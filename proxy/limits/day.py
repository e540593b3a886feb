"""Tehran's day, from midnight to midnight: where it lies by a clock of UTC, and what an account used of it. Pure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from accounts.shared.formats import TEHRAN

DAY_MS = 86_400_000


class Use(NamedTuple):
    requests: int
    tokens: int


NOTHING = Use(0, 0)


@dataclass(frozen=True, slots=True)
class AccountDay:
    """What an account used on one day, by key and model."""

    uses: Mapping[tuple[int, str], Use] = field(default_factory=dict)

    def of(self, key_id: int | None, model: str = "") -> Use:
        """Of one key or of all, with one model or with all."""
        found = [
            use
            for (each_key, each_model), use in self.uses.items()
            if key_id in (None, each_key) and model in ("", each_model)
        ]
        return Use(sum(use.requests for use in found), sum(use.tokens for use in found))


# What the records say that an account has used since the midnight before `at`, a time by another clock.
Recorded = Callable[[int, datetime], Awaitable[AccountDay]]


async def nothing_recorded(_user_id: int, _at: datetime) -> AccountDay:
    return AccountDay()


def offset_ms(at: datetime | None = None) -> int:
    """How far Tehran's clocks are ahead of UTC."""
    ahead = (at or datetime.now(UTC)).astimezone(TEHRAN).utcoffset()
    assert ahead is not None
    return int(ahead.total_seconds() * 1000)


def left_ms(at: datetime) -> int:
    """How long the day at that moment still lasts.

    >>> left_ms(datetime(2026, 11, 30, 20, 29, 59, tzinfo=UTC)), left_ms(datetime(2026, 11, 30, 20, 30, tzinfo=UTC))
    (1000, 86400000)
    """
    now_ms = int(at.timestamp() * 1000) + offset_ms(at)
    return DAY_MS - now_ms % DAY_MS


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
