"""Sets the clock back, for whoever makes a history: what is written then carries that moment, by every usual way.

PostgreSQL's `now()` is shadowed by a function of ours, which sessions with `options()` find first; Django's is told
by a `datetime` of ours. Nothing else on the machine or in the database notices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from unittest import mock

from django.db import connection

SCHEMA = "demo_clock"
SEARCH_PATH = f"{SCHEMA}, public, pg_catalog"
# A sequence, because every session sees at once what it is set to.
SHADOW = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
CREATE SCHEMA {SCHEMA};
CREATE SEQUENCE {SCHEMA}.milliseconds;
CREATE FUNCTION {SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.to_timestamp(last_value / 1000.0) FROM {SCHEMA}.milliseconds';
SET search_path TO {SEARCH_PATH}
"""  # noqa: S608 - put together from constants


class Clock:
    """Stands where it was set last."""

    def __init__(self, moment: datetime) -> None:
        self.set(moment)

    def set(self, moment: datetime) -> None:
        self.moment = moment
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT setval(%s, %s)", [f"{SCHEMA}.milliseconds", int(moment.timestamp() * 1000)]
            )


def options() -> str:
    """What a further session has to be opened with to live by this clock, too."""
    return f"-c search_path={SEARCH_PATH.replace(' ', '')}"


@contextmanager
def set_back(moment: datetime) -> Iterator[Clock]:
    """A clock that stands at `moment`, for this process and its session with the database."""
    with connection.cursor() as cursor:
        cursor.execute(SHADOW)
    try:
        clock = Clock(moment)

        class Moment(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return clock.moment.astimezone(tz)

        with mock.patch("django.utils.timezone.datetime", Moment):
            yield clock
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO DEFAULT; DROP SCHEMA {SCHEMA} CASCADE")
