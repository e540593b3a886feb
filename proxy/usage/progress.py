"""What is counted from the usage records a few minutes at a time: how far it is, and how it catches up.

A record carries the time at which its settlement's transaction began and appears with its COMMIT, seconds later. So
each run counts the last LATE minutes once more, in whole slots. The clock is the database's, by which records are
dated; where it was set back, counting goes back with it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from django.db import connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Min

from proxy.usage.models import UsageRecord

SLOT = timedelta(minutes=5)
SLOT_OF = "date_bin('5 minutes', {}, '2020-01-01 00:00+00')"
LATE = timedelta(minutes=5)
CHUNK = timedelta(hours=6)
SECONDS_PER_RUN = 20
# What is asked for lies at the end of the table. The planner expects it anywhere, and would read from the beginning.
FROM_THE_END = "SET LOCAL enable_seqscan = off"


class Progress(models.Model):
    """One row: all requests that ended before `counted_until` are counted, the earliest of them at `since`."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    since = models.DateTimeField()
    counted_until = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.counted_until}"


def catch_up(
    kind: type[Progress],
    *,
    lock: int,
    count: Callable[[CursorWrapper, datetime, datetime], None],
    looked_back: timedelta | None = None,
    now: datetime | None = None,
) -> None:
    """Counts what has come in since the last run, in transactions of its own, one process at a time (`lock`).

    `count` gets whole slots, from one time on and before another. The first run begins with the first record, or with
    the first one within `looked_back`.
    """
    end = monotonic() + SECONDS_PER_RUN
    while not _some(kind, lock, count, looked_back, now) and monotonic() < end:
        pass


def _some(
    kind: type[Progress],
    lock: int,
    count: Callable[[CursorWrapper, datetime, datetime], None],
    looked_back: timedelta | None,
    now: datetime | None,
) -> bool:
    """Counts the next few hours; True: that was all there is."""
    with transaction.atomic(), connection.cursor() as cursor:
        clock = locked(cursor, lock)
        now = now or clock
        cursor.execute(FROM_THE_END)
        progress = kind._default_manager.first() or _begun(kind, now, looked_back)
        counted_until = min(progress.counted_until, now)
        since = slot(max(counted_until - LATE, progress.since))
        until = min(now, counted_until + CHUNK)
        count(cursor, since, until)
        progress.since, progress.counted_until = min(progress.since, until), until
        progress.save()
    return until == now


def locked(cursor: CursorWrapper, lock: int) -> datetime:
    """Waits for its turn, to the end of the transaction; returns the time that it then is."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
    cursor.execute("SELECT clock_timestamp()")
    now: datetime = cursor.fetchone()[0]
    return now


def _begun(kind: type[Progress], now: datetime, looked_back: timedelta | None) -> Progress:
    records = UsageRecord.objects.order_by()
    if looked_back is not None:
        records = records.filter(created_at__gte=now - looked_back)
    first = records.aggregate(at=Min("created_at"))["at"]
    since = min(first or now, now)
    return kind(since=since, counted_until=since)


def slot(moment: datetime) -> datetime:
    """The start of the slot that it lies in."""
    return moment - timedelta(seconds=moment.timestamp() % SLOT.total_seconds())
