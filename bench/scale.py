"""Ten million requests in one installation: `python -m bench.scale [--large] [--records N]`.

On a PostgreSQL of its own, made by its own SQL: two years of requests, a quarter of them of one account, each in the
journal, and a million people. Prints what they take on the disk and how long it takes to roll them up; p50, p95 and CPU
(of Django and PostgreSQL, which a busy machine changes less) of the pages of that account and of the lists of the
admin; and time and memory of `check_ledger`. `--large`: a hundred million, for which the disk of TMPDIR needs some
100 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

RECORDS, LARGE = 10_000_000, 100_000_000
CHUNK = 500_000
MONTHS = 24
ACCOUNTS = 100
PEOPLE = 1_000_000  # beside them, each with a wallet and a key, who only are found
KEYS, MODELS = 8, 4
REPEATS, LONGEST_MS = 30, 4_000
CREDIT_MICRO = 10**12
COST_MICRO = 300  # 100 tokens in at 1 Rial per million, 100 tokens out at 2
GOAL_MS, GOAL_SECONDS = 100, 300
BYTES_A_RECORD = 700
# Every fourth request is the first account's; so the running balance of each follows from the number of the request.
MADE = f"""
CREATE TEMPORARY TABLE made ON COMMIT DROP AS
SELECT uuidv7(at - now()) AS id, at, n, CASE WHEN n %% 4 = 0 THEN n / 4 ELSE n / {ACCOUNTS} END + 1 AS turn,
    CASE WHEN n %% 4 = 0 THEN %(heavy)s ELSE (%(others)s::bigint[])[n %% {ACCOUNTS} + 1] END AS user_id,
    CASE WHEN n %% 4 = 0 THEN (%(keys)s::bigint[])[1 + n / 4 %% {KEYS}] ELSE 10000000 + n %% {ACCOUNTS} END AS key_id,
    'model-' || CASE WHEN n %% 4 = 0 THEN n / 4 %% {MODELS} ELSE n %% {MODELS} END AS model
FROM (
    SELECT n, now() - interval '{MONTHS * 30} days' * ((%(until)s - n)::float8 / %(until)s) AS at
    FROM generate_series(%(first)s, %(last)s) AS n
) AS numbered ORDER BY n
"""
USED = """
INSERT INTO proxy_usagerecord (
    id, created_at, user_id, key_id, endpoint, model, price_list_id, upstream_id, stream, outcome, billed_by, status,
    prompt_tokens, cached_tokens, completion_tokens, input_rial_per_million, output_rial_per_million,
    cached_input_rial_per_million, cost_micro, uncovered_micro, first_byte_ms, total_ms, end_user, end_user_hint,
    client_request_id)
SELECT id, at, user_id, key_id, CASE WHEN n % 20 = 0 THEN 'messages' ELSE 'chat' END, model,
    (SELECT price.id FROM proxy_price price JOIN proxy_languagemodel m ON m.id = price.model_id
     WHERE m.model_id = made.model),
    1, n % 2 = 0, 'completed', 'usage', 200, 100, 0, 100, 1, 2, 1, 300, 0, 200 + n % 300, 400 + n % 3000,
    CASE WHEN n % 8 = 0 THEN decode(md5((n / 8 % 2000)::text), 'hex') END,
    CASE WHEN n % 8 = 0 THEN 'customer-' || n / 8 % 2000 ELSE '' END,
    CASE WHEN n % 8 = 0 THEN 'order-' || n / 8 ELSE '' END
FROM made
"""
BOOKED = f"""
INSERT INTO wallet_journalentry (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
SELECT id, 'completion', account, CASE account WHEN 'wallet' THEN user_id END,
    CASE account WHEN 'wallet' THEN -{COST_MICRO} ELSE {COST_MICRO} END,
    CASE account WHEN 'wallet' THEN {CREDIT_MICRO} - turn::bigint * {COST_MICRO} END, at
FROM made, (VALUES ('wallet'), ('revenue')) AS legs(account) ORDER BY n
"""
KEYS_OF_PEOPLE = """
INSERT INTO keys_apikey (user_id, name, digest, pepper_version, last_four, created_at)
SELECT id, 'key', sha256(id::text::bytea), 1, substr(md5(id::text), 1, 4), now() FROM accounts_user WHERE id > %s
"""
POSTED = """
UPDATE wallet_wallet w SET posted_micro = %s + spent
FROM (SELECT wallet_id, sum(amount_micro) AS spent FROM wallet_journalentry
      WHERE kind = 'completion' AND account = 'wallet' GROUP BY 1) AS used WHERE used.wallet_id = w.user_id
"""
SIZES = """
SELECT pg_size_pretty(sum(pg_total_relation_size(relid)) FILTER (WHERE relid::regclass::text LIKE 'proxy_usage%')),
    pg_size_pretty(pg_total_relation_size('wallet_journalentry')), pg_size_pretty(pg_database_size(current_database()))
FROM pg_partition_tree('proxy_usagerecord')
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = %s::regclass AND NOT indisunique
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--records", type=int)
    given = parser.parse_args()
    del sys.argv[1:]  # the modules of the other measurements have arguments of their own
    from bench.history import service

    records = given.records or (LARGE if given.large else RECORDS)
    with tempfile.TemporaryDirectory(prefix="hamiran-scale-") as folder:
        free = psutil.disk_usage(folder).free
        if free < records * BYTES_A_RECORD * 1.5:
            raise SystemExit(
                f"{records:,} requests need some {records * BYTES_A_RECORD * 1.5 / 1e9:.0f} GB in {folder};"
                f" {free / 1e9:.0f} GB are free."
            )
        print(
            f"{records:,} requests, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before", flush=True
        )
        with service(Path(folder)):
            heavy, keys = make(records)
            roll_up()
            measure_pages(heavy, keys)
            check_ledger()


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.0f} s", flush=True)


def make(records: int) -> tuple[Any, list[int]]:
    """An account with a quarter of the requests, and its keys."""
    from django.db import connection, transaction

    from keys import lifecycle
    from wallet.credits import gifts

    months_of_the_past()
    users = make_accounts()
    heavy, others = users[0], [each.pk for each in users[1:]]
    make_people()
    keys = [lifecycle.create(user_id=heavy.pk, name=f"key {n}").key_id for n in range(KEYS)]
    with transaction.atomic():
        for user in users:
            gifts.give(wallet_id=user.pk, amount_micro=CREDIT_MICRO)
    with timed("made"), connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        indexes = [
            (name, made) for table in ("proxy_usagerecord", "wallet_journalentry") for name, made in of(table)
        ]
        for name, _made in indexes:
            cursor.execute(f"DROP INDEX {name}")
        for first in range(0, records, CHUNK):
            last = min(first + CHUNK, records) - 1
            with transaction.atomic():
                cursor.execute("SET LOCAL session_replication_role = replica")
                chunk = {"first": first, "last": last, "until": records}
                cursor.execute(MADE, {**chunk, "heavy": heavy.pk, "others": others, "keys": keys})
                cursor.execute(USED)
                cursor.execute(BOOKED)
        for _name, again in indexes:
            cursor.execute(again)
        cursor.execute(POSTED, [CREDIT_MICRO])
    with timed("vacuumed and analysed"), connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute(SIZES)
        print("on disk: usage records {}, journal {}, all {}".format(*cursor.fetchone()), flush=True)
    return heavy, keys


def of(table: str) -> list[tuple[str, str]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(INDEXES, [table])
        # Of a partitioned table PostgreSQL says ON ONLY, which would leave its partitions without.
        return [(name, made.replace(" ON ONLY ", " ON ")) for name, made in cursor.fetchall()]


def make_people() -> None:
    from django.db import connection, transaction

    from accounts.models import User
    from bench.history import user_columns

    columns, values = user_columns()
    last = User.objects.latest("pk").pk
    with timed("people made"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            f"INSERT INTO accounts_user ({columns}) SELECT {values} FROM generate_series(%s, %s) AS n",
            [ACCOUNTS + 2, ACCOUNTS + 1 + PEOPLE],
        )
        cursor.execute(
            "INSERT INTO wallet_wallet (user_id, posted_micro, held_micro, opened_at, frozen_because)"
            " SELECT id, 0, 0, now(), '' FROM accounts_user WHERE id > %s",
            [last],
        )
        cursor.execute(KEYS_OF_PEOPLE, [last])
        cursor.execute("UPDATE accounts_user SET is_active = true")


def months_of_the_past() -> None:
    """Each of its own, which a new installation has in one."""
    from django.db import connection
    from django.utils import timezone

    from proxy.usage import partitions

    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {partitions.attached()[0].name}")
    now = timezone.now()
    for back in range(MONTHS, -1, -partitions.MONTHS_AHEAD):
        partitions.make_ahead(partitions.month_of(now, months=-back).since)
    partitions.make_ahead()
    print(f"{len(partitions.attached())} partitions", flush=True)


def make_accounts() -> list[Any]:
    from django.db import connection
    from django.utils import timezone

    from accounts.models import User
    from proxy.catalogue.models import LanguageModel
    from proxy.catalogue.prices.models import Price

    for number in range(MODELS):
        model = LanguageModel.objects.create(
            model_id=f"model-{number}", context_tokens=1000, max_output_tokens=100
        )
        Price.objects.create(
            model=model, valid_from=timezone.now(), input_rial_per_million=1, output_rial_per_million=2,
            cached_input_rial_per_million=1,
        )  # fmt: skip
    from bench.history import user_columns

    columns, values = user_columns()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO accounts_user ({columns}) SELECT {values} FROM generate_series(1, %s) AS n",
            [ACCOUNTS + 1],
        )
        cursor.execute(
            "INSERT INTO wallet_wallet (user_id, posted_micro, held_micro, opened_at, frozen_because)"
            " SELECT id, 0, 0, now(), '' FROM accounts_user"
        )
    return list(User.objects.order_by("pk"))


def roll_up() -> None:
    from proxy.usage import rollups

    with timed("rolled up from the first record on"):
        rollups.roll_up()
    with timed("rolled up once more, with nothing new"):
        rollups.roll_up()


def measure_pages(heavy: Any, keys: list[int]) -> None:
    from django.conf import settings
    from django.contrib.admin import site
    from django.test import Client
    from django.test.utils import override_settings
    from django.urls import reverse

    from bench import pages as account_pages
    from proxy.usage.models import UsageRecord

    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    newest = UsageRecord.objects.filter(user_id=heavy.pk).order_by("-created_at")[0].pk
    account_pages.MODELS, account_pages.END_USERS = MODELS, 2_000
    customer = Client(HTTP_HOST="127.0.0.1")
    customer.force_login(heavy)
    addresses = account_pages.pages(keys, f"/usage/{newest}/") | {
        "key": f"/keys/{keys[0]}/",
        "keys": "/keys/",
        "wallet": "/wallet/",
        "statement": "/wallet/statement/",
    }
    admin = {"front page": "/admin/"}
    for model in site._registry:
        admin[f"{model._meta.label}"] = reverse(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        )
    admin |= {
        "a usage record": reverse("admin:proxy_usagerecord_change", args=[newest]),
        "usage records of an account": f"{admin['proxy.UsageRecord']}?q={heavy.pk}",
        "people, by a number": f"{admin['accounts.User']}?q=09120777777",
        "people, by a part of it": f"{admin['accounts.User']}?q=07777",
        "people, by the end of a key": f"{admin['accounts.User']}?q=ab12",
        "keys, by their end": f"{admin['keys.APIKey']}?q=ab12",
        "a user": reverse("admin:accounts_user_change", args=[heavy.pk]),
        "a wallet": reverse("admin:wallet_wallet_change", args=[heavy.pk]),
    }
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": storage}):
        for title, client, asked in (("page", customer, addresses), ("admin", signed_in_admin(), admin)):
            print(f"\n| {title} | p50 ms | p95 ms | CPU, ms |  |\n|---|--:|--:|--:|---|", flush=True)
            for name, address in asked.items():
                measure(client, name, address)


def signed_in_admin() -> Any:
    from django.test import Client
    from django_otp import DEVICE_ID_SESSION_KEY

    from accounts import secrets
    from accounts.admin_models import Authenticator
    from accounts.models import User

    admin = User.objects.order_by("-pk")[0]
    admin.is_staff = admin.is_superuser = True
    admin.save()
    device = Authenticator.objects.create(user=admin, name="phone", seed_encrypted=secrets.encrypt("31" * 20))
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(admin)
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    session.save()
    return client


def measure(client: Any, name: str, address: str) -> None:
    from bench.history import server_seconds

    times: list[float] = []
    cpu = time.process_time() + server_seconds()
    for _ in range(REPEATS + 3):
        began = time.perf_counter()
        response = client.get(address, follow=True)  # a search that finds one person goes there
        times.append((time.perf_counter() - began) * 1000)
        if response.status_code != 200 or "login" in response.request["PATH_INFO"]:
            print(f"| {name} | status {response.status_code} | | | |", flush=True)
            return
        if sum(times) > LONGEST_MS:
            break
    cpu = (time.process_time() + server_seconds() - cpu) * 1000 / len(times)
    times = sorted(times[3:] or times)  # without the first ones, which compile the template
    p50, p95 = times[len(times) // 2], times[len(times) * 95 // 100]
    goal = "" if p95 <= GOAL_MS else "above the goal"
    print(f"| {name} | {p50:.0f} | {p95:.0f} | {cpu:.0f} | {goal} |", flush=True)


def check_ledger() -> None:
    """Time and the most memory of its own that any process had meanwhile: the command, and PostgreSQL's."""
    from django.conf import settings

    most: dict[str, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                try:
                    of_it = "PostgreSQL" if process.name().startswith("postgres") else "command"
                    most[of_it] = max(most.get(of_it, 0), process.memory_full_info().uss)
                except psutil.Error:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "manage.py", "check_ledger", "--json"],
        env={**os.environ, "DATABASE_URL": settings.DATABASE_URL}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    spent = time.perf_counter() - began
    ended.set()
    watcher.join()
    print(f"\ncheck_ledger: {spent:.0f} s (goal {GOAL_SECONDS}), exit status {done.returncode}")
    print(", ".join(f"{name} at most {size >> 20} MB" for name, size in most.items()))
    found = json.loads(done.stdout) if done.stdout else {"broken": done.stderr[-2000:]}
    print(json.dumps(found["broken"])[:2000], flush=True)


if __name__ == "__main__":
    main()
