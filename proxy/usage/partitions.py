"""The partitions of the usage records: one for each month of settings.TIME_ZONE, made ahead.

A record lands by its time. The default partition takes what no month takes, so that no settlement fails; it should
hold nothing, and where it does, an alarm goes off (`hamiran_usage_records_in_default`, `manage.py doctor`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from psycopg.errors import LockNotAvailable

TABLE = "proxy_usagerecord"
DEFAULT = f"{TABLE}_default"
MONTHS_AHEAD = 6
LOCK = 0x6D6F6E74  # "mont": one change at a time
# While a change waits for somebody who reads for long, settlements wait behind it. So it soon gives way.
LOCK_TIMEOUT_MS = 500
IN_DEFAULT_MAX = 100_000

BOUND = "substring(pg_get_expr(c.relpartbound, c.oid) FROM '{} \\(''([^'']+)''\\)')::timestamptz"
PARTITIONS = f"""
SELECT c.relname, {BOUND.format("FROM")}, {BOUND.format("TO")}
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('{TABLE}') AND c.relname <> '{DEFAULT}' ORDER BY 2 NULLS FIRST
"""  # noqa: S608 - names of ours
AHEAD = f"SELECT count(*) FROM ({PARTITIONS}) AS months (name, since, until) WHERE since > now()"  # noqa: S608 - likewise
KEPT_SINCE = f"""
coalesce(
    (SELECT since FROM ({PARTITIONS}) AS months (name, since, until) ORDER BY since NULLS FIRST LIMIT 1), '-infinity'
)"""  # noqa: S608 - likewise
HELD_BY_DEFAULT = f"SELECT count(*) FROM (SELECT FROM {DEFAULT} LIMIT {IN_DEFAULT_MAX}) AS found"  # noqa: S608 - likewise
MONTHS_IN_DEFAULT = f"SELECT DISTINCT date_trunc('month', created_at, %s) FROM {DEFAULT}"  # noqa: S608 - likewise
# What inserts a record holds a lock of the whole table before it looks for the partition.
ALONE = f"LOCK TABLE ONLY {TABLE} IN ACCESS EXCLUSIVE MODE"
WITHIN = "created_at >= %(since)s AND created_at < %(until)s"
HELD = f"SELECT EXISTS (SELECT FROM {DEFAULT} WHERE {WITHIN})"  # noqa: S608 - likewise
COPY = f"INSERT INTO {{}} SELECT * FROM {DEFAULT} d WHERE {WITHIN}"  # noqa: S608 - likewise
COPY_THE_REST = " AND NOT EXISTS (SELECT FROM {} m WHERE m.id = d.id)"


class Busy(Exception):
    """Somebody reads the usage records and does not end in time. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Partition:
    """The table of the records from `since` (None: of all that came before) up to `until`, not included."""

    name: str
    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` up to `until`, not included."""

    since: datetime
    until: datetime


def attached() -> list[Partition]:
    """All but the default, from the oldest on. None where the table is not partitioned yet."""
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS)
        return [Partition(*row) for row in cursor.fetchall()]


def kept_since() -> datetime | None:
    """Records from before this may have been detached. None: there are all that ever were."""
    return next((each.since for each in attached()), None)


def in_default() -> int:
    """How many records no month has taken, counted up to IN_DEFAULT_MAX."""
    with connection.cursor() as cursor:
        cursor.execute(HELD_BY_DEFAULT)
        return int(cursor.fetchone()[0])


def made_until(now: datetime) -> datetime:
    """Up to when each moment from `now` on has its partition."""
    until = now
    for each in attached():
        if (each.since is None or each.since <= until) and until < each.until:
            until = each.until
    return until


def month_of(moment: datetime, *, months: int = 0) -> Span:
    """The month of a moment, or the one so many months later."""
    local = moment.astimezone(ZoneInfo(settings.TIME_ZONE))
    count = local.year * 12 + local.month - 1 + months
    since, until = (
        datetime(each // 12, each % 12 + 1, 1, tzinfo=local.tzinfo) for each in (count, count + 1)
    )
    return Span(since, until)


def make_ahead(now: datetime | None = None) -> list[str]:
    """Makes the months that are missing from the present one on; returns their tables. Opens transactions.

    A month of which the default partition holds records stays missing (`move_out_of_default`). Raises Busy.
    """
    made: list[str] = []
    if not attached():
        return made
    now = now or timezone.now()
    for months in range(MONTHS_AHEAD + 1):
        with changing() as cursor:
            for span in _missing([month_of(now, months=months)]):
                name = _table(cursor, span)
                cursor.execute(ALONE)
                cursor.execute(HELD, _bounds(span))
                if cursor.fetchone()[0]:
                    cursor.execute(f"DROP TABLE {name}")
                else:
                    _attach(cursor, name, span)
                    made.append(name)
    return made


def move_out_of_default() -> dict[str, int]:
    """Makes the months whose records the default partition holds, and moves them there; returns how many went where.

    Opens one transaction: they are copied beside running requests, and what has come meanwhile while those wait.
    Raises Busy.
    """
    moved: dict[str, int] = {}
    with changing() as cursor:
        cursor.execute(MONTHS_IN_DEFAULT, [settings.TIME_ZONE])
        tables = [
            (_table(cursor, span), span) for span in _missing(month_of(day) for (day,) in cursor.fetchall())
        ]
        for name, span in tables:
            cursor.execute(COPY.format(name), _bounds(span))
            moved[name] = cursor.rowcount
        cursor.execute(ALONE)
        for name, span in tables:
            cursor.execute(COPY.format(name) + COPY_THE_REST.format(name), _bounds(span))
            moved[name] += cursor.rowcount
        cursor.execute(f"SELECT count(*) FROM {DEFAULT}")  # noqa: S608 - likewise
        if cursor.fetchone()[0] != sum(moved.values()):
            raise Busy("records of yet another month have come in")
        cursor.execute(f"TRUNCATE {DEFAULT}")
        for name, span in tables:
            _attach(cursor, name, span)
    return moved


@contextmanager
def changing() -> Iterator[CursorWrapper]:
    """A transaction for one change of the partitions."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            yield cursor
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise Busy("somebody reads the usage records; try again") from error
        raise


def _missing(wanted: Iterable[Span]) -> Iterator[Span]:
    """What no partition covers of some spans."""
    partitions = attached()
    for span in wanted:
        since = span.since
        for each in partitions:
            if since < span.until and each.until > since and (each.since is None or each.since < span.until):
                if each.since is not None and each.since > since:
                    yield Span(since, each.since)
                since = each.until
        if since < span.until:
            yield Span(since, span.until)


def _table(cursor: CursorWrapper, span: Span) -> str:
    """A table for the records of a span, with all that a partition needs, and a rule that spares looking through it."""
    named = f"{TABLE}_{span.since.astimezone(ZoneInfo(settings.TIME_ZONE)):%Y_%m}"
    cursor.execute("SELECT relname FROM pg_class WHERE starts_with(relname, %s)", [named])
    taken = {name for (name,) in cursor.fetchall()}
    name = next(each for each in (named, *(f"{named}_{n}" for n in range(2, 1000))) if each not in taken)
    cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL, PRIMARY KEY (id))")
    cursor.execute(f"ALTER TABLE {name} ADD CONSTRAINT fits CHECK ({WITHIN})", _bounds(span))
    return name


def _attach(cursor: CursorWrapper, name: str, span: Span) -> None:
    cursor.execute(
        f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM (%(since)s) TO (%(until)s)",
        _bounds(span),
    )
    cursor.execute(f"ALTER TABLE {name} DROP CONSTRAINT fits")


def _bounds(span: Span) -> dict[str, datetime]:
    return {"since": span.since, "until": span.until}
