"""Periods of the usage pages: what a person may choose, cut into hours or days by the clocks of settings.TIME_ZONE."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

# What a page offers: what it is cut into, and how many of those; the one under way is the last.
PRESETS = {"24h": ("hour", 24), "48h": ("hour", 48), "7d": ("day", 7), "30d": ("day", 30), "90d": ("day", 90)}
DEFAULT = "30d"
DAYS_MAX = 366
DAYS_BY_HOUR_MAX = 2


@dataclass(frozen=True, slots=True)
class Period:
    """From `starts[0]` on and before `until`; `starts` are the beginnings of its hours or days (`by`), in UTC."""

    by: str
    starts: tuple[datetime, ...]
    until: datetime

    @property
    def since(self) -> datetime:
        return self.starts[0]

    @property
    def of_whole_days(self) -> bool:
        return all(_midnight(each.astimezone(_zone()).date()) == each for each in (self.since, self.until))


def preset(name: str, *, now: datetime) -> Period:
    """One of PRESETS."""
    by, count = PRESETS[name]
    if by == "hour":
        this_hour = now.astimezone(_zone()).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        return Period(by, *_hours(this_hour - timedelta(hours=count - 1), count))
    today = now.astimezone(_zone()).date()
    return Period(by, *_days(today - timedelta(days=count - 1), count))


def of_days(first: date, last: date) -> Period:
    """Two days and all between them, whole; `first` is not after `last`."""
    count = (last - first).days + 1
    if count <= DAYS_BY_HOUR_MAX:
        return Period("hour", *_hours(_midnight(first), 24 * count))
    return of_days_by_day(first, last)


def of_days_by_day(first: date, last: date) -> Period:
    """Likewise, but always cut into days."""
    return Period("day", *_days(first, (last - first).days + 1))


def _hours(first: datetime, count: int) -> tuple[tuple[datetime, ...], datetime]:
    starts = [first + timedelta(hours=number) for number in range(count + 1)]
    return tuple(starts[:-1]), starts[-1]


def _days(first: date, count: int) -> tuple[tuple[datetime, ...], datetime]:
    starts = [_midnight(first + timedelta(days=number)) for number in range(count + 1)]
    return tuple(starts[:-1]), starts[-1]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=_zone()).astimezone(UTC)


def _zone() -> ZoneInfo:
    return ZoneInfo(settings.TIME_ZONE)
