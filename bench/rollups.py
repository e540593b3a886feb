"""What roll-ups and the nightly proof cost: `python -m bench.rollups [RECORDS]`, 1,000,000 in a day by default.

On a PostgreSQL of its own it fills a day, with the journal, hour by hour, and prints CPU of PostgreSQL and of Python:
for the run that meets the second, the middle and the last hour (days by end user are made anew with each), for the
runs between, and for the whole day as a share of one core, a run every RUN_SECONDS. Then keys' last use, and the proof
of that day: its CPU, its time, and the memory it takes.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
KEYS, MODELS = 500, 4
RUN_SECONDS, LAST_USE_SECONDS = 15, 60
RUNS = 10
HOUR = timedelta(hours=1)
# A midnight of settings.TIME_ZONE, Tehran's.
DAY = datetime(2026, 11, 27, 20, 30, tzinfo=UTC)
MEASURED_HOURS = (1, 12, 23)
START_MICRO = 10**12

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


# A wallet per key; each record takes 300 of it.
JOURNAL = f"""
INSERT INTO wallet_journalentry (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
SELECT id, 'completion', account, CASE account WHEN 'wallet' THEN user_id END,
    CASE account WHEN 'wallet' THEN -300 ELSE 300 END,
    CASE account WHEN 'wallet' THEN {START_MICRO} - 300 * row_number() OVER (PARTITION BY user_id, account ORDER BY id)
        - 300 * %(before)s::bigint / {KEYS} END,
    created_at
FROM proxy_usagerecord, unnest(ARRAY['wallet', 'revenue']) AS account
WHERE created_at >= %(since)s AND created_at < %(until)s ORDER BY id
"""
WALLETS = f"""
INSERT INTO wallet_wallet (user_id, posted_micro, held_micro, opened_at, frozen_because)
SELECT n, {START_MICRO}, 0, '2026-01-01', '' FROM generate_series(1, {KEYS}) n;
INSERT INTO wallet_journalentry (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
SELECT gen_random_uuid(), 'gift', 'wallet', n, {START_MICRO}, {START_MICRO}, '2026-01-01'
FROM generate_series(1, {KEYS}) n;
"""
SPENT = f"UPDATE wallet_wallet SET posted_micro = {START_MICRO} - 300 * %s"


def measure() -> None:
    from django.db import connection

    from proxy.usage import proving, rollups
    from proxy.usage.health import counting as health
    from proxy.usage.sales import counting as sales
    from proxy.usage.sales.models import SalesProgress

    per_hour = RECORDS // 24 // KEYS * KEYS
    print(f"{24 * per_hour:,} records in a day, {KEYS} keys, load {os.getloadavg()[0]:.2f} before the run\n")
    print("| run | ms of CPU |\n|:--|--:|")
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no checks of rows that nobody made
        cursor.execute(WALLETS)
    edges, quiet = [], []
    for hour in range(24):
        fill_hour(hour, per_hour)
        if hour in MEASURED_HOURS:
            edges.append(told(f"hour {hour + 1} begins", rollups.roll_up, runs=1))
            quiet.append(told("a run between", rollups.roll_up))
        else:
            rollups.roll_up()
    runs = 24 * 3600 // RUN_SECONDS
    seconds = 24 * sum(edges) / len(edges) + runs * sum(quiet) / len(quiet)
    print(f"\nRoll-ups: {seconds / 86_400:.2%} of a core with a run every {RUN_SECONDS} s.\n")
    print("| run | ms of CPU |\n|:--|--:|")
    from keys.models import APIKey
    from tests.proxy.factories import APIKeyFactory

    if not APIKey.objects.exists():
        APIKeyFactory.create_batch(KEYS)
    rollups.flush_last_used()
    share = told("last use of keys", rollups.flush_last_used) / LAST_USE_SECONDS
    print(f"\nLast use of keys: {share:.2%} of a core with a run every {LAST_USE_SECONDS} s.\n")
    with connection.cursor() as cursor:
        cursor.execute(SPENT, [24 * per_hour // KEYS])
        cursor.execute("VACUUM ANALYZE wallet_journalentry")
    rollups.roll_up(since=DAY + 23 * HOUR)
    health.count(now=DAY + 25 * HOUR)
    while not SalesProgress.objects.filter(counted_until__gte=DAY + 25 * HOUR).exists():
        sales.count(now=DAY + 25 * HOUR)
    print("| proof of the day | ms of CPU |\n|:--|--:|")
    found: list[Any] = []
    began = time.perf_counter()
    with memory() as most:
        told("", lambda: found.append(proving.prove(since=DAY, until=DAY + 24 * HOUR)), runs=1)
    [proved] = found
    print(f"\n{proved.records:,} records, {len(proved.found)} faults, {time.perf_counter() - began:.1f} s;")
    print(f"at most {most['own']:.0f} MB in Python and {most['server']:.0f} MB of its own in PostgreSQL.")


def fill_hour(hour: int, count: int) -> None:
    from django.db import connection

    since = DAY + hour * HOUR
    fill(first=hour * count + 1, count=count, since=since, until=since + HOUR)
    with connection.cursor() as cursor:
        cursor.execute(JOURNAL, {"since": since, "until": since + HOUR, "before": hour * count})


@contextmanager
def memory() -> Iterator[dict[str, float]]:
    """The most that this process and its server process have taken meanwhile, in MB, shared pages left out."""
    import psutil
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        processes = {"own": psutil.Process(), "server": psutil.Process(cursor.fetchone()[0])}
    most, over = dict.fromkeys(processes, 0.0), threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for name, process in processes.items():
                taken = process.memory_info()
                most[name] = max(most[name], (taken.rss - taken.shared) / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


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
