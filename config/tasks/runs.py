"""A task has one run at a time, on however many workers, and its row tells what became of the last ones.

The lease is a row with an end, by the database's clock, and no lock of a session: it holds behind a pooler and over a
switch to another primary. A run is ended before its lease is (config.tasks.periodic), so that no two overlap; one whose
process died leaves it to the next run after that end to count the failure.
"""

from django.db import connection, transaction

from config.logging import without_secrets

LOST = "The run did not end: its process died, or was killed."

CLAIM = """
INSERT INTO config_taskrun AS t (name, run_id, leased_until, began_at, lag_seconds, runs)
VALUES (%(name)s, %(run_id)s, clock_timestamp() + %(seconds)s * interval '1 second', clock_timestamp(), %(lag)s, 1)
ON CONFLICT (name) DO UPDATE SET
    run_id = excluded.run_id, leased_until = excluded.leased_until, began_at = excluded.began_at,
    lag_seconds = coalesce(excluded.lag_seconds, t.lag_seconds), runs = t.runs + 1,
    failures = t.failures + (t.run_id IS NOT NULL)::int,
    failures_in_row = t.failures_in_row + (t.run_id IS NOT NULL)::int,
    failed_at = CASE WHEN t.run_id IS NULL THEN t.failed_at ELSE t.leased_until END,
    last_error = CASE WHEN t.run_id IS NULL THEN t.last_error ELSE %(lost)s END
WHERE t.run_id IS NULL OR t.leased_until < clock_timestamp()
RETURNING run_id
"""
SUCCEED = """
UPDATE config_taskrun SET run_id = NULL, leased_until = NULL, ended_at = statement_timestamp(),
    succeeded_at = statement_timestamp(), failures_in_row = 0,
    seconds = extract(epoch FROM statement_timestamp() - began_at)
WHERE run_id = %(run_id)s
"""
FAIL = """
UPDATE config_taskrun SET run_id = NULL, leased_until = NULL, ended_at = statement_timestamp(),
    failed_at = statement_timestamp(), seconds = extract(epoch FROM statement_timestamp() - began_at),
    failures = failures + 1, failures_in_row = failures_in_row + 1, last_error = %(error)s
WHERE run_id = %(run_id)s
"""


def claim(name: str, *, run_id: str, seconds: float, lag_seconds: float | None) -> bool:
    """Whether this run has the task to itself from now on, for so many seconds; False: another one has it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            CLAIM, {"name": name, "run_id": run_id, "seconds": seconds, "lag": lag_seconds, "lost": LOST}
        )
        return cursor.fetchone() is not None


def succeed(*, run_id: str) -> None:
    """Gives the task back. A repeat, or a run that has lost it, changes nothing."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(SUCCEED, {"run_id": run_id})


def fail(*, run_id: str, error: BaseException) -> None:
    """Likewise, with the reason."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FAIL, {"run_id": run_id, "error": _told(error)})


def _told(error: BaseException) -> str:
    """Its kind and first line: what follows can be whole rows of the database."""
    from config.models import ERROR_MAX  # which needs Django to be set up

    first, *_further = str(error).strip().splitlines() or [""]
    return without_secrets(f"{type(error).__name__}: {first}".replace("\x00", ""))[:ERROR_MAX]
