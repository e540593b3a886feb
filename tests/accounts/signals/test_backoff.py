"""When a failed delivery is tried again."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.signals.backoff import DELAYS, WINDOW, next_attempt, retry_after

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize("attempts", range(1, 12))
def test_each_failure_waits_longer_give_or_take_a_fifth(attempts: int) -> None:
    delay = DELAYS[min(attempts, len(DELAYS)) - 1]
    waits = [next_attempt(queued_at=NOW, now=NOW, attempts=attempts) for _ in range(200)]
    assert all(wait is not None and delay * 0.8 <= wait - NOW <= delay * 1.2 for wait in waits)
    assert len(set(waits)) > 5


def test_the_last_attempt_is_made_when_24_hours_are_over_and_then_it_is_given_up() -> None:
    queued_at = NOW - WINDOW + timedelta(minutes=1)
    assert next_attempt(queued_at=queued_at, now=NOW, attempts=12) == queued_at + WINDOW
    assert next_attempt(queued_at=NOW - WINDOW, now=NOW, attempts=13) is None


def test_what_the_receiver_asks_for_makes_it_later_never_earlier_and_not_beyond_the_window() -> None:
    def asked(moment: datetime) -> datetime | None:
        return next_attempt(queued_at=NOW, now=NOW, attempts=4, retry_after=moment)

    assert asked(NOW + timedelta(hours=3)) == NOW + timedelta(hours=3)
    assert asked(NOW + timedelta(days=9)) == NOW + WINDOW
    soon = asked(NOW + timedelta(seconds=1))
    assert soon is not None
    assert soon >= NOW + DELAYS[3] * 0.8


@pytest.mark.parametrize(
    ("header", "moment"),
    [
        ("120", NOW + timedelta(minutes=2)),
        ("99999999999999999999", NOW + WINDOW),
        ("Mon, 30 Nov 2026 13:00:00 GMT", NOW + timedelta(hours=1)),
        ("Mon, 30 Nov 2026 13:00:00 -0000", NOW + timedelta(hours=1)),
        ("soon", None),
        ("-5", None),
        ("۱۲۰", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str, moment: datetime | None) -> None:
    assert retry_after(header, now=NOW) == moment
