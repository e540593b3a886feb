"""What roll-ups cost: `python -m bench.rollups [RECORDS]`, 1,000,000 over two hours, on a PostgreSQL of its own.

Prints CPU of PostgreSQL and of Python for the run that meets a new hour, for those of its first minutes, for the
others, and for an hour of runs, one every RUN_SECONDS, as a share of one core. Then the same for keys' last use.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
KEYS, MODELS = 500, 4
RUN_SECONDS = 15
RUNS = 10
# An hour of settings.TIME_ZONE, Tehran's.
HOUR = datetime(2026, 11, 28, 8, 30, tzinfo=UTC)

# As they come in: in the order of their time, from all keys alike.
FILL = """
INSERT INTO proxy_usagerecord ({columns})
SELECT {values} FROM generate_series(%(first)s, %(last)s) AS n
"""
VALUES = {
    "id": "uuidv7()",
    "created_at": "%(since)s::timestamptz + (n - %(first)s) * (%(until)s::timestamptz - %(since)s) / %(count)s",
    "user_id": f"n %% {KEYS} + 1",
    "key_id": f"n %% {KEYS} + 1",
    "model": f"'model-' || n %% 7 %% {MODELS}",
    "outcome": "CASE WHEN n %% 50 = 0 THEN 'refused' ELSE 'completed' END",
    "billed_by": "'usage'",
    "cost_micro": "300",
    "input_rial_per_million": "1",
    "output_rial_per_million": "2",
    "cached_input_rial_per_million": "1",
    "prompt_tokens": "100",
    "completion_tokens": "100",
    "total_ms": "50 + n %% 5000",
    "endpoint": "'chat'",
    "client_request_id": "''",
    # Each hundredth of the records is the only one of its end user.
    "end_user": "decode(md5(CASE WHEN n %% 100 = 0 THEN n ELSE n %% 5000 END::text), 'hex')",
    "end_user_hint": "'customer'",
}
ELSE = {"boolean": "false", "varchar": "'chat_completions'", "smallint": "200"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HAMIRAN_VAR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django
        from django.core.management import call_command

        from config import embedded

        with embedded.running(Path(folder)):
            django.setup()
            call_command("migrate", verbosity=0)
            measure()


def measure() -> None:
    from proxy.usage import rollups

    print(f"{RECORDS:,} records in two hours, {KEYS} keys, load {os.getloadavg()[0]:.2f} before the run\n")
    print("| run | ms of CPU |\n|:--|--:|")
    half = RECORDS // 2
    fill(first=1, count=half, since=HOUR, until=HOUR + timedelta(hours=1))
    rollups.roll_up()
    minute = half // 60
    fill(
        first=half + 1,
        count=minute,
        since=HOUR + timedelta(hours=1),
        until=HOUR + timedelta(hours=1, minutes=1),
    )
    edge = told("a new hour begins", rollups.roll_up, runs=1)
    early = told("first minutes of an hour", rollups.roll_up)
    begun = half + minute
    fill(
        first=begun + 1,
        count=RECORDS - begun,
        since=HOUR + timedelta(hours=1, minutes=1),
        until=HOUR + timedelta(hours=2),
    )
    late = told("end of an hour", rollups.roll_up)
    runs, first = 3600 // RUN_SECONDS, 300 // RUN_SECONDS
    share = (edge + first * early + (runs - first) * late) / 3600
    print(f"\nRoll-ups: {share:.2%} of a core with a run every {RUN_SECONDS} s.\n")
    print("| run | ms of CPU |\n|:--|--:|")
    from keys.models import APIKey
    from tests.proxy.factories import APIKeyFactory

    if not APIKey.objects.exists():
        APIKeyFactory.create_batch(KEYS)
    rollups.flush_last_used()
    share = told("last use of keys", rollups.flush_last_used) / RUN_SECONDS
    print(f"\nLast use of keys: {share:.2%} of a core with a run every {RUN_SECONDS} s.")


def fill(*, first: int, count: int, since: datetime, until: datetime) -> None:
    from django.db import connection

    from proxy.usage.models import UsageRecord

    fields = [
        field for field in UsageRecord._meta.concrete_fields if not field.null or field.column in VALUES
    ]
    columns = [str(field.column) for field in fields]
    kinds = [str(field.db_type(connection)).partition("(")[0] for field in fields]
    values = [VALUES.get(name) or ELSE.get(kind, "0") for name, kind in zip(columns, kinds, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            FILL.format(columns=", ".join(columns), values=", ".join(values)),
            {"first": first, "last": first + count - 1, "count": count, "since": since, "until": until},
        )
        cursor.execute("VACUUM (ANALYZE) proxy_usagerecord")


def told(name: str, work: Callable[[], Any], *, runs: int = RUNS) -> float:
    """Seconds of CPU of one run, here and in PostgreSQL."""
    import psutil
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SET max_parallel_workers_per_gather = 0"
        )  # what others did for it could not be counted
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0])

    def spent() -> float:
        times = server.cpu_times()
        return float(times.user + times.system) + time.process_time()

    before = spent()
    for _ in range(runs):
        work()
    seconds = (spent() - before) / runs
    print(f"| {name} | {seconds * 1000:,.1f} |", flush=True)
    return seconds


if __name__ == "__main__":
    main()
