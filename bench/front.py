"""The admin's front page behind ten million requests: `python -m bench.front [REQUESTS] [CUSTOMERS]`.

On an embedded PostgreSQL and Valkey of its own, through Django's whole stack in this process. REQUESTS, of 30 days, are
as many as the page's roll-ups stand for; what is made of rows is these roll-ups, two hours of records at 10 million a
day, and beside them payments, holds, codes and messages of a year. Prints p50, p95 and CPU of each page, what the count
of a minute costs of a core, and what the same days cost counted anew. Whatever else the machine does goes into them.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
CUSTOMERS = int(sys.argv[2]) if len(sys.argv) > 2 else 800
MODELS, UPSTREAMS = 40, 3
DAYS, HOURS, SLOTS = 400, 40 * 24, 2 * 24 * 12
TOPUPS, HOLDS, CODES, NOTICES = 200_000, 3_000, 60_000, 300_000
RECORDS, RECORD_HOURS = 833_000, 2
REPEATS = 60

FIGURES = """
    {n}, {n} / 100, {n} / 200, {n} / 100, {n} / 300, {n} * 9 / 10, {n} * 9000000::bigint, {n} * 8 / 10,
    {n} * 8000000::bigint, {n} * 5000000::bigint
"""
SUMS = """requests, client_left, upstream_failed, refused, interrupted, billed_requests, billed_micro, costed_requests,
    costed_micro, cost_micro"""
ROUTES = f"""
INSERT INTO proxy_routesales (period, starts_at, model, upstream_id, {SUMS})
SELECT %(period)s, start, 'vendor/model-' || m, u, {{figures}}
FROM (
    SELECT date_trunc(%(trunc)s, now(), 'Asia/Tehran') - i * %(step)s::interval AS start, m, u,
        greatest(1, (%(each)s / {MODELS} / {UPSTREAMS})::bigint) AS n
    FROM generate_series(0, %(count)s - 1) AS i, generate_series(1, {MODELS}) AS m,
        generate_series(1, {UPSTREAMS}) AS u
) AS made
"""
TO_CUSTOMERS = f"""
INSERT INTO proxy_customersales (period, starts_at, user_id, {SUMS})
SELECT %(period)s, start, user_id, {{figures}}
FROM (
    SELECT date_trunc(%(trunc)s, now(), 'Asia/Tehran') - i * %(step)s::interval AS start, user_id,
        greatest(1, (%(each)s / {CUSTOMERS})::bigint) AS n
    FROM generate_series(0, %(count)s - 1) AS i, wallet_wallet
) AS made
"""
PAID = """
INSERT INTO wallet_topup (id, user_id, gateway, amount_micro, vat_micro, vat_basis_points, status, authority, ref_id,
    card_pan, created_at, returned_at, claimed_at, credited_at)
SELECT gen_random_uuid(), ids[1 + n %% cardinality(ids)], 'zarinpal', 5000000000000, 500000000000, 1000, status,
    n::text, CASE WHEN status = 'credited' THEN n::text END, '', at, at, at, CASE WHEN status = 'credited' THEN at END
FROM (
    SELECT n, now() - interval '1 year' * n / %(count)s AS at, CASE WHEN n %% 10000 = 0 THEN 'review'
        WHEN n %% 10001 = 0 THEN 'verifying' WHEN n %% 4 = 0 THEN 'expired' ELSE 'credited' END AS status
    FROM generate_series(1, %(count)s) AS n
) AS made, (SELECT array_agg(user_id) AS ids FROM wallet_wallet) AS people
"""
HELD = """
INSERT INTO wallet_hold (id, wallet_id, amount_micro, created_at, expires_at)
SELECT gen_random_uuid(), ids[1 + n %% cardinality(ids)], 1000000, now() - interval '1 minute',
    now() + (n - 5) * interval '1 second'
FROM generate_series(1, %(count)s) AS n, (SELECT array_agg(user_id) AS ids FROM wallet_wallet) AS people
"""
CODED = """
INSERT INTO accounts_challenge (id, mobile, digest, pepper_version, browser_digest, address, is_known_browser,
    created_at, expires_at, tries, consumed_at)
SELECT gen_random_uuid(), '+98912' || lpad((n %% 100000)::text, 7, '0'), 'd', 1, 'b', '10.0.0.1', false, at,
    at + interval '2 minutes', 0, CASE WHEN n %% 3 > 0 THEN at END
FROM (SELECT n, now() - interval '2 days' * n / %(count)s AS at FROM generate_series(1, %(count)s) AS n) AS made
"""
NOTED = """
INSERT INTO accounts_notice (user_id, channel, event, dedup, text, outcome, created_at, tries)
SELECT ids[1 + n %% cardinality(ids)], (ARRAY['sms', 'bale'])[1 + n %% 2], 'low_balance', n::text, '',
    CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'sent' END, now() - interval '100 days' * n / %(count)s, 1
FROM generate_series(1, %(count)s) AS n, (SELECT array_agg(user_id) AS ids FROM wallet_wallet) AS people
"""
USED = """
INSERT INTO proxy_usagerecord ({columns})
SELECT {values} FROM generate_series(1, %(count)s) AS n, (SELECT array_agg(user_id) AS ids FROM wallet_wallet) AS people
"""


def main() -> None:
    from bench.history import service

    print(f"{REQUESTS:,} requests, {CUSTOMERS:,} customers, load {os.getloadavg()[0]:.2f} before the run\n")
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)):
        from django.conf import settings
        from django.test.utils import override_settings

        storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        with override_settings(STORAGES={**settings.STORAGES, "staticfiles": storage}):
            customers()
            counting_costs()
            roll_ups()
            beside()
            pages()


def customers() -> None:
    from bench import history

    history.WALLETS = CUSTOMERS
    history.make_wallets()


def execute(statement: str, **given: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, given)


def counting_costs() -> None:
    """Two hours of records at ten million a day, counted minute by minute at their end, and all of them anew."""
    from django.db import connection
    from django.utils import timezone

    from bench.rollups import ELSE
    from proxy.usage.models import UsageRecord
    from proxy.usage.sales import counting

    values = {
        "id": "uuidv7()",
        "created_at": f"now() - (%(count)s - n) * interval '{RECORD_HOURS} hours' / %(count)s",
        "user_id": "ids[1 + n %% cardinality(ids)]",
        "key_id": "n %% 1000",
        "model": f"'vendor/model-' || 1 + n * 7 %% {MODELS}",
        "upstream_id": f"1 + n * 3 %% {UPSTREAMS}",
        "outcome": "CASE WHEN n %% 50 = 0 THEN 'refused' ELSE 'completed' END",
        "billed_by": "'usage'",
        "cost_micro": "300",
        "input_rial_per_million": "1",
        "output_rial_per_million": "2",
        "cached_input_rial_per_million": "1",
        "prompt_tokens": "100",
        "completion_tokens": "100",
        "endpoint": "'chat'",
        "client_request_id": "''",
        "end_user_hint": "''",
        "upstream_cost_nanodollars": "CASE WHEN n %% 10 > 0 THEN n %% 900000 END",
    }
    fields = [
        field for field in UsageRecord._meta.concrete_fields if not field.null or field.column in values
    ]
    columns = [str(field.column) for field in fields]
    kinds = [str(field.db_type(connection)).partition("(")[0] for field in fields]
    chosen = [values.get(name) or ELSE.get(kind, "0") for name, kind in zip(columns, kinds, strict=True)]
    execute(
        "INSERT INTO proxy_exchangerate (rial_per_dollar, valid_from, created_at)"
        " VALUES (1100000, now() - interval '1 day', now())"
    )
    execute(USED.format(columns=", ".join(columns), values=", ".join(chosen)), count=RECORDS)
    execute("VACUUM ANALYZE proxy_usagerecord")
    now = timezone.now()
    print("| count | ms of CPU | of a core |\n|:--|--:|--:|")
    told("all two hours, as after a stand-still", lambda: counting.count(now=now), every_seconds=0)
    told("a minute", lambda: counting.count(now=timezone.now()), every_seconds=60, runs=10)
    told("two hours counted anew", lambda: counting.rebuild(since=now), every_seconds=0)


def told(what: str, work: Any, *, every_seconds: int, runs: int = 1) -> None:
    import psutil
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # what others did could not be counted
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0])

    def spent() -> float:
        times = server.cpu_times()
        return float(times.user + times.system) + time.process_time()

    before = spent()
    for _ in range(runs):
        work()
    seconds = (spent() - before) / runs
    share = f"{seconds / every_seconds:.2%}" if every_seconds else ""
    print(f"| {what} | {seconds * 1000:,.0f} | {share} |", flush=True)


def roll_ups() -> None:
    execute("TRUNCATE proxy_routesales, proxy_customersales")
    per_day = REQUESTS / 30
    for period, trunc, step, count, share in (
        ("day", "day", "1 day", DAYS, 1),
        ("hour", "hour", "1 hour", HOURS, 24),
        ("slot", "hour", "5 minutes", SLOTS, 24 * 12),
    ):
        given = {"period": period, "trunc": trunc, "step": step, "count": count, "each": per_day / share}
        for statement in (ROUTES, TO_CUSTOMERS):
            execute(statement.format(figures=FIGURES.format(n="n")), **given)


def beside() -> None:
    from accounts import message_counts

    for statement, count in ((PAID, TOPUPS), (HELD, HOLDS), (CODED, CODES), (NOTED, NOTICES)):
        execute(statement, count=count)
    execute("VACUUM ANALYZE")
    print("\n| count | ms of CPU | of a core |\n|:--|--:|--:|")
    told("messages, the first time", message_counts.count, every_seconds=0)
    told("messages", message_counts.count, every_seconds=60, runs=5)


def server_seconds() -> float:
    """Of CPU, of this connection's process of PostgreSQL."""
    import psutil
    from django.db import connection

    times = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    return float(times.user + times.system)


def pages() -> None:
    from django.contrib.auth.models import Group

    from tests.admin_browser import admin_browser
    from tests.factories import UserFactory
    from tests.proxy.factories import LanguageModelFactory, UpstreamFactory

    for number in range(1, MODELS + 1):
        LanguageModelFactory.create(model_id=f"vendor/model-{number}")
    UpstreamFactory.create_batch(UPSTREAMS)
    print(
        "\n| page | seen by | p50 ms | p95 ms | CPU ms | KB |\n|:--|:--|--:|--:|--:|--:|",
    )
    addresses = [f"/admin/?period={period}" for period in ("today", "7d", "30d")]
    for role in ("owner", "finance", "support", "catalogue"):
        admin = UserFactory.create(is_staff=True)
        admin.groups.add(Group.objects.get(name=role))
        browser = admin_browser(admin)
        browser.cookies["hamiran_language"] = "fa"
        further = ["/admin/figures/customers/?period=30d", "/admin/figures/customers.csv?period=30d"]
        for address in addresses + (further if role == "owner" else []):
            times, spent = [], []
            for _ in range(REPEATS):
                began, before = time.perf_counter(), time.process_time() + server_seconds()
                answer = browser.get(address, HTTP_HOST="127.0.0.1")
                times.append((time.perf_counter() - began) * 1000)
                spent.append((time.process_time() + server_seconds() - before) * 1000)
                assert answer.status_code == 200, (address, answer.status_code)
            times = sorted(times[3:])  # without the first ones, which compile the templates
            p50, p95, cpu = times[len(times) // 2], times[len(times) * 95 // 100], sum(spent[3:]) / len(times)
            kilobytes = len(answer.content) / 1024
            print(
                f"| `{address}` | {role} | {p50:.0f} | {p95:.0f} | {cpu:.0f} | {kilobytes:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
