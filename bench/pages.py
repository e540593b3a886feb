"""The pages of an account with a million requests: `python bench/pages.py [ROWS]`.

On an embedded PostgreSQL and Valkey of its own, through Django's whole stack in this process (session, middleware,
database, templates). Prints p50 and p95 of the server's time and the size of each page. Whatever else the machine
does goes into the figures, so the load before the run is printed, too.
"""

import os
import sys
import tempfile
import time
from hashlib import md5
from pathlib import Path
from typing import Any

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
REPEATS = 60
DAYS = 90
KEYS, MODELS = 8, 4
END_USERS = 2_000
# The last key and model hardly ever meet, one request in fifty fails, few are of a third endpoint, and the last end
# user hardly ever asks: what a filter has to find among the rest.
MAKE = """
INSERT INTO proxy_usagerecord (
    id, created_at, user_id, key_id, endpoint, model, upstream_id, stream, outcome, billed_by, status,
    prompt_tokens, cached_tokens, completion_tokens,
    input_rial_per_million, output_rial_per_million, cached_input_rial_per_million,
    cost_micro, uncovered_micro, first_byte_ms, total_ms, end_user, end_user_hint, client_request_id)
SELECT uuidv7(at - now()), at, %(user)s, key,
    CASE WHEN n %% 100043 = 0 THEN 'speech' WHEN n %% 3 = 0 THEN 'messages' ELSE 'chat' END,
    'model-' || model, 1, n %% 2 = 0,
    CASE WHEN failed THEN (ARRAY['upstream_failed', 'refused', 'interrupted', 'client_left'])[1 + n / 50 %% 4]
        ELSE 'completed' END,
    CASE WHEN failed THEN 'nothing' ELSE 'usage' END, CASE WHEN failed THEN 502 ELSE 200 END,
    tokens, tokens / 3, tokens / 2, 1000, 4000, 250,
    (tokens - tokens / 3) * 1000 + tokens / 3 * 250 + tokens / 2 * 4000,
    0, 200 + n %% 300, (400 * exp(2.5 * random()))::int,
    decode(md5(customer::text), 'hex'), 'customer-' || customer, 'order-' || n / 3
FROM (
    SELECT n, now() - interval '1 day' * %(days)s * (1 - n::float / %(rows)s) AS at, n %% 50 = 0 AS failed,
        (%(keys)s::bigint[])[
            CASE WHEN n %% 100003 = 0 THEN %(last)s ELSE 1 + abs(hashint4(n::int)) %% (%(last)s - 1) END] AS key,
        CASE WHEN n %% 100019 = 0 THEN %(models)s ELSE 1 + abs(hashint4(-n::int)) %% (%(models)s - 1) END AS model,
        CASE WHEN n %% 50 = 0 THEN 0 ELSE 20 + n * 13 %% 4000 END AS tokens,
        CASE WHEN n %% 100057 = 0 THEN %(customers)s WHEN n %% 2 = 0 THEN 1
            ELSE 1 + abs(hashint4(7 * n::int)) %% (%(customers)s - 1) END AS customer
    FROM generate_series(1, %(rows)s) AS n
) AS made
"""


def digest(customer: int) -> str:
    return md5(str(customer).encode(), usedforsecurity=False).hexdigest()


def pages(keys: list[int], one: str) -> dict[str, str]:
    """What each line of the table asks for."""
    common, rare = f"key={keys[0]}", f"key={keys[-1]}"
    log = "/usage/requests/?period=90d"
    return {
        "overview": "/overview/",
        "usage, 30 days": "/usage/",
        "usage, 90 days": "/usage/?period=90d",
        "usage, 48 hours": "/usage/?period=48h",
        "usage, 90 days of a key and a model": f"/usage/?period=90d&{common}&model=model-1",
        "end users, 30 days": "/usage/end-users/",
        "end users, 90 days": "/usage/end-users/?period=90d",
        "log": log,
        "log, of a key": f"{log}&{common}",
        "log, of a rare key": f"{log}&{rare}",
        "log, of a rare model": f"{log}&model=model-{MODELS}",
        "log, of a key and a model": f"{log}&{common}&model=model-1",
        "log, of a pair that never met": f"{log}&{rare}&model=model-{MODELS}",
        "log, failed": f"{log}&outcome=failed",
        "log, completed, of a model": f"{log}&outcome=completed&model=model-1",
        "log, refused, of a key": f"{log}&outcome=refused&{common}",
        "log, refused, of a key and a model": f"{log}&outcome=refused&{common}&model=model-1",
        "log, of an endpoint": f"{log}&endpoint=messages",
        "log, of a rare endpoint": f"{log}&endpoint=speech",
        "log, of a rare endpoint, a key and a model": f"{log}&endpoint=speech&{common}&model=model-1",
        "log, of a common end user": f"{log}&user=user:{digest(1)}",
        "log, of a rare end user": f"{log}&user=user:{digest(END_USERS)}",
        "log, of a common end user and a rare model": f"{log}&user=user:{digest(1)}&model=model-{MODELS}",
        "log, failed, of a rare end user": f"{log}&outcome=failed&user=user:{digest(END_USERS)}",
        "log, failed, of a common end user": f"{log}&outcome=failed&user=user:{digest(1)}",
        "log, by the client's id": f"{log}&client_id=order-77",
        "one request": one,
    }


def fill() -> tuple[Any, list[int], str]:
    """An account with ROWS requests over DAYS days, rolled up; it, its keys and the address of a request."""
    from django.db import connection

    from accounts.opening import open_account
    from keys import lifecycle
    from proxy.usage import rollups
    from proxy.usage.models import UsageRecord

    user = open_account(mobile="+989120000000")
    keys = [lifecycle.create(user_id=user.pk, name=f"key {n}").key_id for n in range(KEYS)]
    with connection.cursor() as cursor:
        cursor.execute(
            MAKE,
            {
                "user": user.pk,
                "days": DAYS,
                "rows": ROWS,
                "keys": keys,
                "last": KEYS,
                "models": MODELS,
                "customers": END_USERS,
            },
        )
        rollups.roll_up()
        cursor.execute("VACUUM ANALYZE")
    newest = UsageRecord.objects.order_by("-id").values_list("pk", flat=True)[0]
    return user, keys, f"/usage/{newest}/"


def measure(user: Any, keys: list[int], one: str) -> None:
    from django.test import Client

    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(user)
    print("| page | p50 ms | p95 ms | KB |")
    print("|---|--:|--:|--:|")
    for name, address in pages(keys, one).items():
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            response = client.get(address)
            times.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200, (address, response.status_code)
        times = sorted(times[3:])  # without the first ones, which compile the template
        p50, p95 = times[len(times) // 2], times[len(times) * 95 // 100]
        print(f"| {name} | {p50:.0f} | {p95:.0f} | {len(response.content) / 1024:.0f} |", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HAMIRAN_VAR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django
        from django.conf import settings
        from django.core.management import call_command
        from django.test.utils import override_settings

        from config import embedded

        with embedded.running(Path(folder)):
            django.setup()
            call_command("migrate", verbosity=0)
            settings.STATIC_ROOT.mkdir(parents=True)
            storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
            with override_settings(STORAGES={**settings.STORAGES, "staticfiles": storage}):
                began = time.perf_counter()
                filled = fill()
                print(
                    f"{ROWS:,} requests made and rolled up in {time.perf_counter() - began:.0f} s; "
                    f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before the run, {REPEATS} calls a page\n"
                )
                measure(*filled)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
