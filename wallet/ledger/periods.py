"""The periods after which budgets begin anew: days, weeks and Jalali months of Tehran. Pure: no Django."""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

import jdatetime

from accounts.shared.formats import TEHRAN

SATURDAY = 5


class Period(StrEnum):
    FOREVER = "forever"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def bounds(period: Period, moment: datetime) -> tuple[datetime, datetime]:
    """When the period around an aware moment begins and when the next one does, in UTC. FOREVER has no bounds.

    A week goes from Saturday to Friday, a month is one of the Jalali calendar.
    """
    today = moment.astimezone(TEHRAN).date()
    match period:
        case Period.DAY:
            first, following = today, today + timedelta(days=1)
        case Period.WEEK:
            first = today - timedelta(days=(today.weekday() - SATURDAY) % 7)
            following = first + timedelta(days=7)
        case Period.MONTH:
            first, following = _jalali_month(today)
        case _:
            raise ValueError(period)
    return _midnight(first), _midnight(following)


def _jalali_month(day: date) -> tuple[date, date]:
    this = jdatetime.date.fromgregorian(date=day).replace(day=1)
    year, month = (this.year + 1, 1) if this.month == 12 else (this.year, this.month + 1)
    return this.togregorian(), jdatetime.date(year, month, 1).togregorian()


def _midnight(day: date) -> datetime:
    """Where clocks skipped it, as they did in Iran until 1401, the moment when they did."""
    return datetime.combine(day, time.min, tzinfo=TEHRAN).astimezone(UTC)
