"""Kills, freezes and cuts everything at random under load, then compares all books: `make chaos`.

CHAOS_ROUNDS (200), CHAOS_SEED (random, printed), CHAOS_SECONDS (2400: no new round after so long) and
CHAOS_CLIENTS (16) change a run. Exit status 1 and a list where a book differs.
"""

import asyncio
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.faults import Disruption
    from tests.chaos.load import Load
    from tests.chaos.stack import Part, Stack
    from tests.chaos.upstream import BookingUpstream
    from tests.chaos.verdict import Verdict

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "200"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
SECONDS = float(os.environ.get("CHAOS_SECONDS", "2400"))
CLIENTS = int(os.environ.get("CHAOS_CLIENTS", "16"))
# From here on Celery has to do the last sweeps when its own clock says so; a short run asks it to.
ROUNDS_FOR_BEAT = 50
TOLD_OF_A_KIND = 20
QUIET_SECONDS = 240  # more than the lease of a run that was killed

AGE_RETURNS = """
UPDATE wallet_topup SET created_at = created_at - interval '40 minutes',
    returned_at = returned_at - interval '40 minutes', claimed_at = claimed_at - interval '40 minutes'
WHERE status IN ('created', 'redirected', 'returned', 'verifying')
"""
HOLDS_LEFT = "SELECT FROM wallet_hold"
PAYMENTS_LEFT = """
SELECT FROM wallet_topup t JOIN wallet_sandboxpayment p USING (authority)
WHERE t.status IN ('redirected', 'returned', 'verifying') AND p.status <> 'open'
"""
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "LOG_LEVEL": "WARNING",
    "TOPUP_DAILY_MAX_TOMAN": "1000000000",
    "TOPUP_STARTS_PER_HOUR": "1000000",
    "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "10",
    "UPSTREAM_IDLE_TIMEOUT_SECONDS": "10",
    "UPSTREAM_TOTAL_TIMEOUT_SECONDS": "30",
    "UPSTREAM_STREAM_TIMEOUT_SECONDS": "30",
}


async def run(stack: "Stack") -> "tuple[Load, BookingUpstream, list[Disruption], Counter[str]]":
    """The stack, the load and the faults; returns when everything is quiet again and swept."""
    from django.core.management import call_command

    from tests.chaos import faults, people
    from tests.chaos.load import Load
    from tests.chaos.stack import with_orm
    from tests.chaos.upstream import BookingUpstream
    from tests.live import free_port

    await stack.start_engines()
    upstream = BookingUpstream(free_port())
    await upstream.start()
    await with_orm(partial(call_command, "migrate", verbosity=0))
    await asyncio.to_thread(call_command, "collectstatic", interactive=False, verbosity=0)
    everybody = await with_orm(people.settle_in, upstream.url)
    await stack.start_service()

    load = Load(stack.urls, everybody, random.Random(SEED), CLIENTS)
    running = asyncio.create_task(load.run())
    disruptions, inflicted = [], Counter[str]()
    began = time.monotonic()
    for number, fault in enumerate(faults.schedule(SEED, ROUNDS), 1):
        disruptions.append(await faults.inflict(stack, fault))
        inflicted[fault.what if fault.whom.isdigit() else str(fault)] += 1
        if running.done():
            break
        if number % 10 == 0:
            spent = time.monotonic() - began
            print(f"  round {number:>4}  {len(load.attempts):>7} requests  {spent:6.0f} s", flush=True)
        if time.monotonic() - began > SECONDS:
            print(f"  time is up after {number} rounds", flush=True)
            break
    # The last one leaves holds behind whose process is gone, so that the sweep at the end has something to find.
    disruptions.append(await faults.inflict(stack, faults.Fault("kill", "web-0", 0.5, 0.1)))
    load.stop.set()
    await running
    await stack.wait_until_ready()
    await sweep(stack.database_url)
    await upstream.close()
    return load, upstream, disruptions, inflicted


async def sweep(database_url: str) -> None:
    """Makes what is left over old enough, and waits for the worker, after all it went through, to deal with it."""
    from tests.chaos import faults

    await asyncio.sleep(2)  # for settlements whose callers have gone
    left = await faults.age(database_url, faults.AGE_HOLDS)
    returns = await faults.age(database_url, AGE_RETURNS)
    print(f"  {left} holds and {returns} top-ups were left to the sweeps", flush=True)
    await _done(database_url, HOLDS_LEFT, None if ROUNDS >= ROUNDS_FOR_BEAT else "wallet.sweep_expired_holds")
    # The reconciler takes 50 at a time, twice per minute, which is too slow to wait for.
    await _done(database_url, PAYMENTS_LEFT, "wallet.settle_returned_topups")


async def _done(database_url: str, left: str, task: str | None) -> None:
    """Waits until the worker has left no row of `left`; asks it to run `task`, or leaves that to beat.

    However many there are, and however slow the machine is: as long as they become fewer.
    """
    from config.celery import app

    rows, deadline = await _count(database_url, left), time.monotonic() + QUIET_SECONDS
    while rows:
        if task is not None:
            await asyncio.to_thread(app.send_task, task)
        if time.monotonic() > deadline:
            print(f"  the worker did not sweep in time, and has left {rows}", flush=True)
            return
        await asyncio.sleep(0.3)
        before, rows = rows, await _count(database_url, left)
        if rows < before:
            deadline = time.monotonic() + QUIET_SECONDS


async def _count(database_url: str, left: str) -> int:
    import psycopg

    async with await psycopg.AsyncConnection.connect(database_url) as database:
        row = await (await database.execute(f"SELECT count(*) FROM ({left}) AS found".encode())).fetchone()
    return int(row[0]) if row else 0


def report(load: "Load", verdict: "Verdict", inflicted: Counter[str], parts: "Iterable[Part]") -> None:
    from tests.chaos.attempt import Ending

    print(f"\nfaults: {inflicted.total()}")
    for name, count in sorted(inflicted.items()):
        print(f"  {count:>6}  {name}")
    print(f"requests: {len(load.attempts)}")
    for name, count in verdict.figures.items():
        print(f"  {count:>6}  {name}")
    whole = Counter(a.client.endpoint for a in load.attempts if a.ending == Ending.WHOLE)
    print("whole answers by endpoint:", dict(whole.most_common()))
    errors = Counter(
        f"{attempt.status} {attempt.detail}"
        for attempt in load.attempts
        if attempt.ending in {Ending.ERROR_STATUS, Ending.ERROR_EVENT}
    )
    print("errors that clients saw:", dict(errors.most_common()))
    print("top-ups as their payers saw them:", dict(load.topups.most_common()))
    slowest = max((attempt.ended - attempt.began for attempt in load.attempts), default=0)
    print(f"slowest request: {slowest:.1f} s")
    print(
        "parts that ended by themselves:",
        {part.name: part.deaths for part in parts if part.deaths} or "none",
    )


def tell_faults(verdict: "Verdict", logs: Path) -> None:
    """Some of each kind, so that many of one hide no other."""
    print(f"\n{len(verdict.faults)} BROKEN; logs are in {logs}")
    kinds = Counter(complaint.partition(":")[0] for complaint in verdict.faults)
    for kind, count in kinds.most_common():
        told = [complaint for complaint in verdict.faults if complaint.partition(":")[0] == kind]
        print(f"{count} of these:", *told[:TOLD_OF_A_KIND], sep="\n - ")


async def chaos(var_dir: Path) -> "Verdict":
    import aiohttp

    from tests.chaos import verdict
    from tests.chaos.stack import Stack, with_orm

    async with aiohttp.ClientSession() as http:
        stack = Stack(var_dir, http)
        try:
            load, upstream, disruptions, inflicted = await run(stack)
            found: Verdict = await with_orm(verdict.judge, load.attempts, upstream.book, disruptions)
            report(load, found, inflicted, stack.parts.values())
        finally:
            await stack.stop()
    return found


def main() -> int:
    var_dir = Path(tempfile.mkdtemp(prefix="hamiran-chaos-"))
    var_dir.chmod(0o755)
    for name in ("DATABASE_URL", "REDIS_URL", "HAMIRAN_MODE"):
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT, HAMIRAN_VAR=str(var_dir))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(
        f"seed {SEED}, {ROUNDS} rounds (again: CHAOS_SEED={SEED} CHAOS_ROUNDS={ROUNDS} make chaos)",
        flush=True,
    )
    import django
    import uvloop

    django.setup()
    verdict = uvloop.run(chaos(var_dir))
    if verdict.faults:
        tell_faults(verdict, var_dir / "logs")
        return 1
    if "CHAOS_KEEP" not in os.environ:
        shutil.rmtree(var_dir, ignore_errors=True)
    print("\nAll books agree: nothing lost, nothing charged twice, nobody charged for an error.")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())
