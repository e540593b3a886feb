"""Periods are cut by Tehran's clocks, and end with the hour or day under way."""

from datetime import UTC, date, datetime, timedelta

import pytest

from proxy.usage import periods

MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran
NOW = MIDNIGHT + timedelta(hours=15, minutes=40)


@pytest.mark.parametrize(("name", "hours"), [("24h", 24), ("48h", 48)])
def test_hours_end_with_the_one_under_way(name: str, hours: int) -> None:
    period = periods.preset(name, now=NOW)
    assert (period.by, len(period.starts)) == ("hour", hours)
    assert period.starts[-1] == MIDNIGHT + timedelta(hours=15)
    assert period.until == MIDNIGHT + timedelta(hours=16)


@pytest.mark.parametrize(("name", "days"), [("7d", 7), ("30d", 30), ("90d", 90)])
def test_days_end_with_today(name: str, days: int) -> None:
    period = periods.preset(name, now=NOW)
    assert (period.by, len(period.starts)) == ("day", days)
    assert period.starts[-1] == MIDNIGHT
    assert period.since == MIDNIGHT - timedelta(days=days - 1)
    assert period.until == MIDNIGHT + timedelta(days=1)


@pytest.mark.parametrize(("days", "by", "slices"), [(1, "hour", 24), (2, "hour", 48), (3, "day", 3)])
def test_chosen_days_are_whole_and_few_of_them_are_shown_by_hour(days: int, by: str, slices: int) -> None:
    period = periods.of_days(date(2026, 11, 21), date(2026, 11, 21) + timedelta(days=days - 1))
    assert (period.by, len(period.starts)) == (by, slices)
    assert (period.since, period.until) == (MIDNIGHT, MIDNIGHT + timedelta(days=days))
