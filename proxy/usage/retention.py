"""How long usage records are kept: what is older than settings.USAGE_RETENTION_MONTHS is detached.

A detached month is a table of its own, which no page and no check reads any more. It goes when somebody says so
(`manage.py usage_partitions drop`). Roll-ups and the journal are kept for ever.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from proxy.usage.partitions import ALONE, TABLE, attached, changing, month_of
from proxy.usage.rollups import rolled_up_until
from proxy.usage.sales import reading

# What a late settlement adds to an hour is summed within the next one.
SUMMED_FOR = timedelta(days=1)
DETACHED = f"""
SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) FROM pg_class c
WHERE starts_with(c.relname, '{TABLE}_') AND c.relkind = 'r' AND NOT c.relispartition
    AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('{TABLE}'))
ORDER BY c.relname
"""  # noqa: S608 - a name of ours


class NotDetached(Exception):
    """There is no detached table of this name."""


class NotWhole(Exception):
    """The file does not hold what the table holds: nothing was dropped."""


@dataclass(frozen=True, slots=True)
class Detached:
    """A table that is no partition any more. `records`: about how many it holds."""

    name: str
    records: int
    bytes: int


def detach_past(now: datetime | None = None) -> list[str]:
    """Detaches what is past its time and in all roll-ups; returns the tables. Opens transactions. Raises Busy."""
    rolled, counted = rolled_up_until(), reading.counted_until()
    if not settings.USAGE_RETENTION_MONTHS or rolled is None:
        return []
    rolled = min(rolled, counted or rolled)
    kept_from = month_of(now or timezone.now(), months=-settings.USAGE_RETENTION_MONTHS).since
    gone = []
    for each in attached():
        if each.until <= kept_from and each.until <= rolled - SUMMED_FOR:
            with changing() as cursor:
                cursor.execute(ALONE)
                cursor.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {each.name}")
            gone.append(each.name)
    return gone


def detached() -> list[Detached]:
    with connection.cursor() as cursor:
        cursor.execute(DETACHED)
        return [Detached(*row) for row in cursor.fetchall()]


def export(*, name: str, file: Path) -> int:
    """Writes a detached table into a new CSV file with a header, for COPY; returns how many records it holds.

    Raises NotDetached, FileExistsError.
    """
    _require_detached(name)
    with file.open("xb") as stream, connection.cursor() as cursor:
        os.fchmod(stream.fileno(), 0o600)
        with cursor.copy(f"COPY {name} TO STDOUT (FORMAT csv, HEADER)") as rows:
            for piece in rows:
                stream.write(piece)
        written = cursor.rowcount
        stream.flush()
        os.fsync(stream.fileno())
    return int(written)


def drop(*, name: str, exported: int | None = None) -> None:
    """Drops a detached table for good; `exported` so many records must be all of it. Opens a transaction.

    Raises NotDetached, NotWhole, Busy.
    """
    _require_detached(name)
    with changing() as cursor:
        if exported is not None:
            cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
            cursor.execute(f"SELECT count(*) FROM {name}")  # noqa: S608 - one of DETACHED
            if cursor.fetchone()[0] != exported:
                raise NotWhole(name)
        cursor.execute(f"DROP TABLE {name}")


def _require_detached(name: str) -> None:
    if name not in {each.name for each in detached()}:
        raise NotDetached(name)
