"""Authorise + capture through the ledger's group commit: `python bench/ledger.py [SECONDS]`.

On an embedded PostgreSQL of its own, fsync and synchronous_commit on. Prints a table: pairs a second, latency and
CPU a pair at 1, 32 and 200 at once, on 1,000 wallets and on one, and how fast the one is beside the many. Whatever
else the machine does goes into the figures, so the load before the run is printed, too.
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0


@dataclass(frozen=True, slots=True)
class Figures:
    a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


async def pairs(conninfo: str, record_sql: str, wallets: list[int], at_once: int) -> "Figures":
    import uuid_utils.compat as uuid

    from wallet.ledger.holds import Holds

    holds = Holds(conninfo=conninfo, record_sql=record_sql)
    holds.start()
    deadline = time.perf_counter() + SECONDS
    latencies: list[float] = []

    async def one(number: int) -> None:
        turn = number
        while time.perf_counter() < deadline:
            wallet = wallets[turn % len(wallets)]
            turn += at_once
            began = time.perf_counter()
            hold = uuid.uuid7()
            await holds.place(
                hold_id=hold, wallet_id=wallet, amount_micro=900, minimum_micro=900, seconds=600
            )
            await holds.settle(
                hold_id=hold, wallet_id=wallet, cost_micro=300, record=RECORD | {"user_id": wallet}
            )
            latencies.append(time.perf_counter() - began)

    cpu = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(at_once)))
    spent = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    await holds.close(timeout_seconds=5)
    latencies.sort()
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return Figures(
        a_second=len(latencies) / spent,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
        cpu_us=used * 1e6 / len(latencies),
    )


RECORD = {
    "user_id": 1, "key_id": 1, "endpoint": "chat", "model": "bench", "upstream_id": 1, "stream": False,
    "outcome": "completed", "billed_by": "usage",
    "status": 200, "prompt_tokens": 100, "cached_tokens": 0, "completion_tokens": 100, "input_rial_per_million": 1,
    "output_rial_per_million": 2, "cached_input_rial_per_million": 1, "uncovered_micro": 0, "first_byte_ms": 1,
    "total_ms": 2, "client_request_id": "", "end_user_hint": "",
}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HAMIRAN_VAR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django
        import uvloop
        from django.conf import settings
        from django.core.management import call_command

        from config import embedded

        with embedded.running(Path(folder)):
            django.setup()
            call_command("migrate", verbosity=0)
            from django.db import connection, transaction

            from accounts.models import User
            from proxy.usage.records import record_sql
            from wallet.credits import gifts
            from wallet.ledger.models import Wallet

            wallets = []
            for number in range(1000):
                user = User.objects.create_user(f"+98912{number:07d}")
                wallets.append(Wallet.objects.create(user=user).pk)
                with transaction.atomic():
                    gifts.give(wallet_id=user.pk, amount_micro=10**12)
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_setting('fsync'), current_setting('synchronous_commit'), version()"
                )
                fsync, synchronous_commit, version = cursor.fetchone()
            print(
                f"{' '.join(version.split()[:2])}, fsync {fsync}, synchronous_commit {synchronous_commit},",
                end=" ",
            )
            print(
                f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before the run, {SECONDS:g} s a line\n"
            )
            print("| at once | wallets | pairs/s | p50 ms | p99 ms | client CPU us/pair | one / many |")
            print("|--:|--:|--:|--:|--:|--:|--:|")
            for at_once in (1, 32, 200):
                many = 0.0
                for some in (wallets, wallets[:1]):
                    got = uvloop.run(pairs(settings.DATABASE_URL, record_sql(), some, at_once))
                    ratio = f"{got.a_second / many:.2f}" if many else ""
                    many = many or got.a_second
                    print(
                        f"| {at_once} | {len(some):,} | {got.a_second:,.0f} | {got.p50_ms:.2f} | {got.p99_ms:.2f} "
                        f"| {got.cpu_us:.0f} | {ratio} |",
                        flush=True,
                    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
