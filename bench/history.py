"""What a settlement costs behind a history: `python -m bench.history [RECORDS…]`, 10,000 and 3,000,000 by default.

On a PostgreSQL of its own, a thousand wallets with as many records between them, analysed, just after a checkpoint.
Prints PostgreSQL's CPU and its write-ahead log for a pair of hold and settlement, 32 at once, and which relation the
log is about: whole pages are written the first time each is touched after a checkpoint.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.ledger import RECORD

HISTORIES = [int(given) for given in sys.argv[1:]] or [10_000, 3_000_000]
PAIRS, AT_ONCE, WALLETS = 30_000, 32, 1_000
CHUNK = 250_000
CREDIT_MICRO = 10**12
SECONDS_APART = 0.2

# As they would have come in: in the order of their time, from all wallets alike.
PAST = f"""
CREATE TEMPORARY TABLE past ON COMMIT DROP AS
SELECT uuidv7((n - %(until)s) * {SECONDS_APART} * interval '1 second') AS id, ids[n %% {WALLETS} + 1] AS wallet_id,
    now() + (n - %(until)s) * {SECONDS_APART} * interval '1 second' AS at
FROM generate_series(%(first)s, %(last)s) AS n, (SELECT array_agg(user_id ORDER BY user_id) AS ids FROM wallet_wallet)
ORDER BY n
"""
USED = """
INSERT INTO proxy_usagerecord ({columns}) SELECT {values} FROM past, json_to_record(%(record)s) AS r({types})
"""
BOOKED = """
INSERT INTO wallet_journalentry (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
SELECT id, 'completion', account, CASE account WHEN 'wallet' THEN wallet_id END,
    CASE account WHEN 'wallet' THEN -300 ELSE 300 END, CASE account WHEN 'wallet' THEN 0 END, at
FROM past, (VALUES ('wallet'), ('revenue')) AS legs(account)
"""
LOG = """
SELECT coalesce(c.relname, 'other') AS name, count(*),
    sum(b.block_data_length + b.block_fpi_length)::bigint, sum(b.block_fpi_length)::bigint
FROM pg_get_wal_block_info(%(since)s, %(until)s, false) b
LEFT JOIN pg_class c ON pg_relation_filenode(c.oid) = b.relfilenode
GROUP BY 1 ORDER BY 3 DESC LIMIT 14
"""


def main() -> None:
    print(
        f"{PAIRS:,} pairs each, {AT_ONCE} at once, {WALLETS:,} wallets, load {os.getloadavg()[0]:.2f} before\n"
    )
    for records in HISTORIES:
        with tempfile.TemporaryDirectory() as folder, service(Path(folder)):
            measure(records)


@contextmanager
def service(folder: Path) -> Iterator[None]:
    os.environ["HAMIRAN_VAR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from config import embedded

    with embedded.running(folder):
        django.setup()
        settings.DATABASE_URL = embedded.database_url(folder)
        connection.settings_dict.update(embedded.django_database(settings.DATABASE_URL))
        call_command("migrate", verbosity=0)
        try:
            yield
        finally:
            connection.close()


def measure(records: int) -> None:
    import uvloop
    from django.conf import settings
    from django.db import connection

    from proxy.usage.records import record_sql

    wallets = make_wallets()
    make_past(records)
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        cursor.execute("VACUUM ANALYZE")
        uvloop.run(pairs(settings.DATABASE_URL, record_sql(), wallets, PAIRS // 10))
        cursor.execute("CHECKPOINT")
        since = position(cursor)
        spent = uvloop.run(pairs(settings.DATABASE_URL, record_sql(), wallets, PAIRS))
        until = position(cursor)
        cursor.execute("SELECT %s::pg_lsn - %s::pg_lsn", [until, since])
        total = int(cursor.fetchone()[0])
        print(
            f"{records:,} records: {spent * 1e6 / PAIRS:.0f} us of PostgreSQL's CPU, {total / PAIRS:,.0f} bytes of log"
        )
        cursor.execute(LOG, {"since": since, "until": until})
        print("\n| relation | blocks | bytes a pair | of them whole pages |\n|:--|--:|--:|--:|")
        for name, blocks, size, pages in cursor.fetchall():
            print(f"| {name} | {blocks / PAIRS:.2f} | {int(size) / PAIRS:,.0f} | {int(pages) / PAIRS:,.0f} |")
        print(flush=True)


def position(cursor: Any) -> str:
    cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
    return str(cursor.fetchone()[0])


def make_wallets() -> list[int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_user ({}) SELECT {} FROM generate_series(1, %(count)s) AS n".format(
                *user_columns()
            ),
            {"count": WALLETS},
        )
        cursor.execute(
            "INSERT INTO wallet_wallet (user_id, posted_micro, held_micro, opened_at, frozen_because)"
            " SELECT id, %s, 0, now(), '' FROM accounts_user RETURNING user_id",
            [CREDIT_MICRO],
        )
        return [row[0] for row in cursor.fetchall()]


def user_columns() -> tuple[str, str]:
    from django.db import connection

    from accounts.models import Tier, User

    fields = [field for field in User._meta.concrete_fields if not field.null and field.column != "id"]
    values = []
    for field in fields:
        kind = str(field.db_type(connection))
        values.append(
            "'+98912' || lpad(n::text, 7, '0')" if field.column == User.USERNAME_FIELD
            else str(Tier.objects.order_by("pk").values_list("pk", flat=True).first()) if field.column == "tier_id"
            else "now()" if kind.startswith("timestamp") else "false" if kind == "boolean" else "n" if "int" in kind
            else "''"
        )  # fmt: skip
    return ", ".join(str(field.column) for field in fields), ", ".join(values)


def make_past(records: int) -> None:
    import orjson
    from django.db import connection, transaction

    from proxy.usage.models import UsageRecord

    own = {
        "id": "past.id",
        "created_at": "at",
        "user_id": "wallet_id",
        "key_id": "wallet_id",
        "cost_micro": "300",
    }
    types = {str(field.column): str(field.db_type(connection)) for field in UsageRecord._meta.concrete_fields}
    used = USED.format(
        columns=", ".join(types),
        values=", ".join(own.get(name, f"r.{name}") for name in types),
        types=", ".join(f"{name} {kind}" for name, kind in types.items() if name not in own),
    )
    for first in range(1, records + 1, CHUNK):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            last = min(first + CHUNK - 1, records)
            cursor.execute(PAST, {"first": first, "last": last, "until": records + 1})
            cursor.execute(used, {"record": orjson.dumps(RECORD).decode()})
            cursor.execute(BOOKED)


async def pairs(conninfo: str, record_sql: str, wallets: list[int], count: int) -> float:
    """Seconds of CPU of all of PostgreSQL's processes."""
    import uuid_utils.compat as uuid

    from wallet.ledger.holds import Holds

    holds = Holds(conninfo=conninfo, record_sql=record_sql)
    holds.start()
    turns = iter(range(count))

    async def worker() -> None:
        for turn in turns:
            wallet = wallets[turn % len(wallets)]
            hold = uuid.uuid7()
            record = RECORD | {"user_id": wallet, "key_id": wallet}
            await holds.place(
                hold_id=hold, wallet_id=wallet, amount_micro=900, minimum_micro=900, seconds=600
            )
            await holds.settle(hold_id=hold, wallet_id=wallet, cost_micro=300, record=record)

    before = server_seconds()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    spent = server_seconds() - before
    await holds.close(timeout_seconds=5)
    return spent


def server_seconds() -> float:
    """Of the processes that live now, and of those that lived."""
    import psutil

    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


if __name__ == "__main__":
    main()
