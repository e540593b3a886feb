"""The spans of time of the admin's front page: today, 7 and 30 days of Tehran's, the current day among them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from proxy.usage import periods
from proxy.usage.periods import Period

DAYS: dict[str, tuple[int, Promise | str]] = {
    "today": (1, _("Today")),
    "7d": (7, _("7 days")),
    "30d": (30, _("30 days")),
}
DEFAULT = "7d"


@dataclass(frozen=True, slots=True)
class Span:
    """`days` is it cut into days; `shown` is what pictures of it show, which of one day are its hours."""

    name: str
    title: str
    days: Period
    shown: Period

    @property
    def since(self) -> datetime:
        return self.days.since


def span(name: str, *, now: datetime) -> Span:
    """One of DAYS."""
    count, title = DAYS[name]
    last = now.astimezone(ZoneInfo(settings.TIME_ZONE)).date()
    first = last - timedelta(days=count - 1)
    cut: Callable[..., Period] = periods.of_days if count == 1 else periods.of_days_by_day
    return Span(name, str(title), periods.of_days_by_day(first, last), cut(first, last))


def all_of_them(*, now: datetime) -> list[Span]:
    return [span(name, now=now) for name in DAYS]
