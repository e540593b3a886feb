"""Whatever happens to the runs of roll-ups (twice, late, at once, killed, anew), the sums are those of the records.

Their hours lie ahead of all that other tests leave behind, since roll-ups go by the newest; all of it is taken away
again.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.usage import rollups
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from tests.live import eventually
from tests.proxy.factories import UsageRecordFactory

# 20:30 UTC is midnight in Tehran.
MIDNIGHT = datetime(2035, 11, 20, 20, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIGURES = rollups.FIGURES.split(", ")

HOURS_OF_RECORDS = f"""
SELECT date_trunc(%(period)s, created_at, 'Asia/Tehran') AS starts_at, key_id, model, endpoint, {rollups.COUNTED}
FROM proxy_usagerecord WHERE created_at >= %(since)s GROUP BY 1, 2, 3, 4
"""
USERS_OF_RECORDS = f"""
SELECT date_trunc('day', created_at, 'Asia/Tehran') AS starts_at, end_user, key_id, model, endpoint, {rollups.COUNTED}
FROM proxy_usagerecord WHERE created_at >= %(since)s AND created_at < %(rolled)s GROUP BY 1, 2, 3, 4, 5
"""


def clear() -> None:
    UsageRecord.objects.filter(created_at__gte=MIDNIGHT - 24 * HOUR).delete()
    for model in (UsageRollup, EndUserRollup):
        model.objects.filter(starts_at__gte=MIDNIGHT - 48 * HOUR).delete()


@pytest.fixture
def alone(committed_db: None) -> Iterator[None]:
    clear()
    yield
    clear()


def rows(query: str, **parameters: Any) -> set[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"since": MIDNIGHT - 24 * HOUR, **parameters})
        return set(cursor.fetchall())


def assert_the_same() -> None:
    sums = ", ".join(FIGURES)
    rolled = f"SELECT starts_at, key_id, model, endpoint, {sums} FROM proxy_rollup"
    for period in ("hour", "day"):
        assert rows(f"{rolled} WHERE period = %(period)s AND starts_at >= %(since)s", period=period) == rows(
            HOURS_OF_RECORDS, period=period
        )
    users = f"SELECT starts_at, end_user, key_id, model, endpoint, {sums} FROM proxy_enduserrollup"
    assert rows(f"{users} WHERE starts_at >= %(since)s") == rows(
        USERS_OF_RECORDS, rolled=rollups.rolled_up_until()
    )


def record(at: datetime, key_id: int) -> None:
    UsageRecordFactory.create(
        created_at=at,
        key_id=key_id,
        end_user=b"abc"[key_id : key_id + 1],
        end_user_hint="x",
        prompt_tokens=key_id + 1,
    )


def in_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def two_at_once() -> None:
    for thread in [in_thread(rollups.roll_up) for _ in range(2)]:
        thread.join()


def killed() -> None:
    """In the middle: hours and days are written, days by end user are not yet."""
    settings_dict = connection.settings_dict
    conninfo = psycopg.conninfo.make_conninfo(
        dbname=settings_dict["NAME"], user=settings_dict["USER"], host=settings_dict["HOST"]
    )
    waits = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query LIKE '%proxy_enduserrollup%' AND pid <> pg_backend_pid()
    """
    with psycopg.connect(conninfo) as other:
        other.execute("LOCK TABLE proxy_enduserrollup IN ACCESS EXCLUSIVE MODE")
        ended = threading.Event()

        def run() -> None:
            try:
                with contextlib.suppress(DatabaseError):
                    rollups.roll_up()
            finally:
                ended.set()

        thread = in_thread(run)
        found: list[Any] = []

        def stands() -> bool:
            other.execute("SELECT pg_stat_clear_snapshot()")
            found[:] = other.execute(waits).fetchall()
            return bool(found) or ended.is_set()

        eventually(stands)
        for (pid,) in found:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.rollback()
        thread.join()


def anew() -> None:
    """From the records alone."""
    for model in (UsageRollup, EndUserRollup):
        model.objects.filter(starts_at__gte=MIDNIGHT - 24 * HOUR).delete()
    rollups.roll_up(since=MIDNIGHT - 24 * HOUR)


RUNS: dict[str, Callable[[], object]] = {
    "once": rollups.roll_up,
    "twice": lambda: (rollups.roll_up(), rollups.roll_up()),
    "two at once": two_at_once,
    "killed": killed,
    "anew": anew,
    "not at all": lambda: None,
}
# Hours that pass, requests of each key then, requests of the hour before that commit only now, and what runs.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 1, 2, 24, 73]),
        st.lists(st.integers(0, 2), max_size=3),
        st.lists(st.integers(0, 2), max_size=1),
        st.sampled_from(sorted(RUNS)),
    ),
    min_size=2,
    max_size=5,
)


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_to_its_runs_the_sums_are_those_of_the_records(steps: list[Any]) -> None:
    clear()
    now = MIDNIGHT - HOUR
    for minute, (hours, keys, late, how) in enumerate(steps, start=1):
        now += hours * HOUR
        for key_id in late:
            record(now - timedelta(seconds=minute), key_id)
        for key_id in keys:
            record(now + timedelta(minutes=20 + minute), key_id)
        RUNS[how]()
    for _ in range(2):  # what was late in the last hours comes in with those that follow
        now += HOUR
        record(now + timedelta(minutes=20), 0)
        rollups.roll_up()
    rollups.roll_up(since=rollups.rolled_up_until())
    assert_the_same()
