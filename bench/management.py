"""The management API of an account with 1,000 keys: `python bench/management.py [KEYS]`.

A web process, a PostgreSQL and a Valkey of its own; one client, one request after the other, over HTTP on loopback.
Every other key has a cap, every tenth has replaced another. Prints p50 and p95, the CPU time of the web process for a
request, and the size of an answer. Whatever else the machine does goes into the times, so the load before the run
is printed, too.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import httpx
import psutil

KEYS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
REPEATS = 60
PORT = 8765
ROOT = Path(__file__).resolve().parent.parent


def fill() -> str:
    """An account with KEYS keys; the secret of its admin key."""
    from datetime import timedelta

    from accounts.opening import open_account
    from keys import admin_keys, lifecycle
    from keys.actors import OPERATOR
    from keys.models import AdminKey
    from keys.rules import KeyRules
    from proxy import own_keys

    user = open_account(mobile="+989120000000")
    rules = KeyRules(rpm=60, allowed_networks=("192.0.2.0/24",))
    made = 0
    while made < KEYS:
        cap_micro = 10**12 if made % 2 else None
        key = own_keys.create(user_id=user.pk, name=f"customer {made}", rules=rules, cap_micro=cap_micro)
        made += 1
        if made % 10 == 0 and made < KEYS:
            lifecycle.rotate(user_id=user.pk, key_id=key.key_id, grace=timedelta(days=1))
            made += 1
    return admin_keys.create(
        user_id=user.pk,
        name="bench",
        scopes=AdminKey.Scope.values,
        allowed_networks=(),
        expires_at=None,
        creation_token=uuid4(),
        by=OPERATOR,
    ).secret


def measure(secret: str, web: psutil.Process) -> None:
    head = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}/v1/manage", headers=head, timeout=30) as http:
        key = http.get("/keys", params={"limit": 1}).json()["data"][0]["id"]

        def ask(number: int, what: str) -> httpx.Response:
            if what == "one key":
                return http.get(f"/keys/{key}")
            if what == "a change":
                return http.patch(f"/keys/{key}", json={"rpm": 100 + number})
            limit = 1_000 if what == "a list of 1,000" else 100
            return http.get("/keys", params={"limit": limit})

        print("| request | p50 ms | p95 ms | CPU ms | KB |")
        print("|---|--:|--:|--:|--:|")
        for what in ("a list of 1,000", "a list of 100", "one key", "a change"):
            times, spent = [], sum(web.cpu_times()[:2])
            for number in range(REPEATS):
                began = time.perf_counter()
                answer = ask(number, what)
                times.append((time.perf_counter() - began) * 1000)
                assert answer.status_code == 200, answer.text
            cpu = (sum(web.cpu_times()[:2]) - spent) / REPEATS * 1000
            times = sorted(times[3:])
            p50, p95 = times[len(times) // 2], times[len(times) * 95 // 100]
            print(
                f"| {what} | {p50:.1f} | {p95:.1f} | {cpu:.1f} | {len(answer.content) / 1024:.0f} |",
                flush=True,
            )


def serve() -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-m", "config.web", "--port", str(PORT)], cwd=ROOT)
    while process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/readyz").status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the web process did not come up")


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
            secret = fill()
            process = serve()
            try:
                print(
                    f"{KEYS:,} keys; {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before the run, "
                    f"{REPEATS} requests of each kind\n"
                )
                measure(secret, psutil.Process(process.pid))
            finally:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
