"""When a delivery that failed is tried again, and when it is given up. Pure."""

import secrets
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

WINDOW = timedelta(hours=24)
# After the first failure, the second …; then after the last of these, until the window ends.
DELAYS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 2 * 60, 10 * 60, 30 * 60, 60 * 60, 2 * 60 * 60)
)
JITTER_PERCENT = 20


def next_attempt(
    *, queued_at: datetime, now: datetime, attempts: int, retry_after: datetime | None = None
) -> datetime | None:
    """When to try again after the `attempts`-th attempt has failed, at `now`; None: it is given up.

    The last attempt is made when the window ends, so that a receiver that was away for all of it misses nothing.
    `retry_after` is the earliest moment that the receiver asked for.
    """
    ends_at = queued_at + WINDOW
    if now >= ends_at:
        return None
    delay = DELAYS[min(attempts, len(DELAYS)) - 1]
    jitter = 1 + (secrets.randbelow(2 * JITTER_PERCENT + 1) - JITTER_PERCENT) / 100
    wanted = now + delay * jitter
    return min(wanted if retry_after is None else max(wanted, retry_after), ends_at)


def retry_after(header: str, *, now: datetime) -> datetime | None:
    """What a Retry-After header says, in seconds or as a date; None: nothing that can be read."""
    if header.isascii() and header.isdecimal():
        return now + timedelta(seconds=min(int(header[:9]), WINDOW.total_seconds()))
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
