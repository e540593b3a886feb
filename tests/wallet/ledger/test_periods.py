"""When periods begin and end. Pure; years without and with daylight saving time, leap years and others."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import jdatetime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.ledger.periods import Period, bounds

TEHRAN = ZoneInfo("Asia/Tehran")
RETURNING = st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH])
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds UTC


def local(moment: datetime) -> str:
    return f"{moment.astimezone(TEHRAN):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("period", "moment", "start", "end"),
    [
        (Period.DAY, "2026-11-30T20:29:59+00:00", "2026-11-30 00:00", "2026-12-01 00:00"),
        (Period.DAY, "2026-11-30T20:30:00+00:00", "2026-12-01 00:00", "2026-12-02 00:00"),
        (Period.WEEK, "2026-12-04T23:59:59+03:30", "2026-11-28 00:00", "2026-12-05 00:00"),  # a Friday
        (Period.WEEK, "2026-12-05T00:00:00+03:30", "2026-12-05 00:00", "2026-12-12 00:00"),  # a Saturday
        (Period.MONTH, "2026-11-30T12:00:00+03:30", "2026-11-22 00:00", "2026-12-22 00:00"),  # Azar 1405
        (
            Period.MONTH,
            "2025-03-20T12:00:00+03:30",
            "2025-02-19 00:00",
            "2025-03-21 00:00",
        ),  # Esfand 1403 has 30 days
        (
            Period.MONTH,
            "2026-03-20T23:59:59+03:30",
            "2026-02-20 00:00",
            "2026-03-21 00:00",
        ),  # Esfand 1404 has 29
        (Period.MONTH, "2026-03-21T00:00:00+03:30", "2026-03-21 00:00", "2026-04-21 00:00"),  # Farvardin 1405
        (
            Period.DAY,
            "2021-03-22T12:00:00+04:30",
            "2021-03-22 01:00",
            "2021-03-23 00:00",
        ),  # midnight was skipped
    ],
)
def test_periods_begin_at_midnight_in_tehran(period: Period, moment: str, start: str, end: str) -> None:
    assert [local(each) for each in bounds(period, datetime.fromisoformat(moment))] == [start, end]


def test_for_ever_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="forever"):
        bounds(Period.FOREVER, datetime.now(UTC))


@given(period=RETURNING, moment=MOMENTS)
def test_every_moment_lies_in_one_period_and_periods_follow_each_other(
    period: Period, moment: datetime
) -> None:
    start, end = bounds(period, moment)
    assert start <= moment < end
    assert bounds(period, start) == bounds(period, end - timedelta(microseconds=1)) == (start, end)
    assert bounds(period, end)[0] == end
    assert bounds(period, start - timedelta(microseconds=1))[1] == start


@given(moment=MOMENTS)
def test_a_month_is_one_of_the_jalali_calendar_and_a_week_begins_on_saturday(moment: datetime) -> None:
    start, end = (each.astimezone(TEHRAN) for each in bounds(Period.MONTH, moment))
    month = jdatetime.date.fromgregorian(date=moment.astimezone(TEHRAN).date())
    assert jdatetime.date.fromgregorian(date=start.date()) == month.replace(day=1)
    days = 31 if month.month <= 6 else 30 if month.month < 12 or month.isleap() else 29
    assert (end.date() - start.date()).days == days
    week_start, week_end = (each.astimezone(TEHRAN) for each in bounds(Period.WEEK, moment))
    assert (week_start.strftime("%A"), (week_end.date() - week_start.date()).days) == ("Saturday", 7)
