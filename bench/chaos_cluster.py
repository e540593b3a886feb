"""Kills, cuts off and freezes the machines of a cluster under load, then compares all books: `make chaos-cluster`.

CHAOS_ROUNDS (100), CHAOS_SEED (random, printed), CHAOS_SECONDS (3600: no new round after so long), CHAOS_CLIENTS (6)
and CHAOS_ONLY (one kind of fault) change a run. Exit status 1 and a list where a book differs or a promise was broken.
Runs as root, in namespaces: what it cuts is a network of its own.
"""

import asyncio
import itertools
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.cluster.services import Tools
    from tests.chaos.cluster.faults import Round
    from tests.chaos.cluster.promises import Promises
    from tests.chaos.cluster.stack import ClusterStack
    from tests.chaos.load import Load
    from tests.chaos.upstream import BookingUpstream
    from tests.chaos.verdict import Verdict

ROUNDS = int(os.environ.setdefault("CHAOS_ROUNDS", "100"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
SECONDS = float(os.environ.get("CHAOS_SECONDS", "3600"))
CLIENTS = int(os.environ.get("CHAOS_CLIENTS", "6"))
ONLY = os.environ.get("CHAOS_ONLY", "")
PATRONI = Path(os.environ.get("PATRONI_PYTHON", "var/cluster/patroni/bin/python")).absolute()
OUTAGE_MAX_SECONDS = 15.0
INSIDE = "HAMIRAN_CHAOS_INSIDE"


async def run(stack: "ClusterStack") -> "tuple[Load, BookingUpstream, list[Round], Promises]":
    """The cluster, the load and the faults; returns when everything is quiet again and swept."""
    import aiohttp
    from django.core.management import call_command

    from bench.chaos import sweep
    from tests.chaos import people
    from tests.chaos.cluster import faults
    from tests.chaos.cluster.machines import HERE
    from tests.chaos.cluster.promises import Promises
    from tests.chaos.load import Load
    from tests.chaos.stack import NotReady, with_orm
    from tests.chaos.upstream import BookingUpstream
    from tests.live import free_port

    await stack.start_engines()
    upstream = BookingUpstream(free_port(), host=HERE)
    await upstream.start()
    await with_orm(partial(call_command, "migrate", verbosity=0))
    everybody = await with_orm(people.settle_in, upstream.url)
    await stack.start_service()

    chosen = random.Random(SEED)
    load = Load(stack.urls, everybody, random.Random(SEED), CLIENTS)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
    ) as http:
        promises = Promises(load, http)
        running = [asyncio.create_task(load.run()), asyncio.create_task(promises.run())]
        rounds = []
        began = time.monotonic()
        kinds = [ONLY] * ROUNDS if ONLY else faults.schedule(SEED, ROUNDS)
        for number, what in enumerate(kinds, 1):
            await asyncio.sleep(chosen.uniform(0.3, 1.5))
            try:
                rounds.append(await faults.inflict(stack, what, chosen))
            except NotReady as error:
                promises.faults.append(f"after {what}: {error}")
                break
            _tell(number, rounds[-1], load)
            if any(task.done() for task in running):
                break
            if time.monotonic() - began > SECONDS:
                print(f"  time is up after {number} rounds", flush=True)
                break
        load.stop.set()
        await asyncio.gather(*running)
        await stack.wait_until_ready()
        await sweep(stack.database_url)
        await promises.judge_revoked()
    promises.judge_limits(rounds)
    await upstream.close()
    return load, upstream, rounds, promises


def _tell(number: int, done: "Round", load: "Load") -> None:
    seconds = max(outages(done, load), default=0.0)
    taken = (
        "" if done.taken_over_seconds is None else f", another primary after {done.taken_over_seconds:.1f} s"
    )
    print(
        f"  {number:>4}  {done.what}: {seconds:.1f} s without an answer{taken}; "
        f"round of {done.ended - done.began:.0f} s, {len(load.attempts)} requests",
        flush=True,
    )


def outages(done: "Round", load: "Load") -> list[float]:
    """The longest time without a whole answer in a round, at each web process that was left alone."""
    from tests.chaos.attempt import PAID

    touched = {disruption.part for disruption in done.disruptions}
    found = []
    for web in range(len(load.urls)):
        if f"web-{web}" in touched:
            continue
        ends = sorted(
            each.ended
            for each in load.attempts
            if each.web == web and each.ending in PAID and done.began - 5 < each.ended < done.ended + 5
        )
        found.append(
            max(
                (later - earlier for earlier, later in itertools.pairwise(ends)
                 if later > done.began and earlier < done.ended),
                default=done.ended - done.began,
            )
        )  # fmt: skip
    return found


def report(rounds: "list[Round]", load: "Load", promises: "Promises") -> list[str]:
    """Prints what came out for each kind of fault; returns what took too long."""
    by_kind: dict[str, list[Round]] = defaultdict(list)
    for each in rounds:
        by_kind[each.what].append(each)
    print(
        f"\n{len(rounds)} rounds; seconds without a whole answer at a web process, and until another primary"
    )
    late = []
    for what, of in sorted(by_kind.items()):
        seconds = [second for each in of for second in outages(each, load)]
        taken = [each.taken_over_seconds for each in of if each.taken_over_seconds is not None]
        over = f"{statistics.median(taken):5.1f} {max(taken):5.1f}" if taken else ""
        print(
            f"  {len(of):>3}  p50 {statistics.median(seconds):4.1f}  max {max(seconds):4.1f}   {over:12} {what}"
        )
        if max(seconds) > OUTAGE_MAX_SECONDS:
            late.append(f"{max(seconds):.1f} s without an answer: {what}")
    print("promises:", dict(promises.figures))
    return late


async def chaos(var_dir: Path, tools: "Tools") -> "Verdict":
    import aiohttp

    import bench.chaos
    from tests.chaos import verdict
    from tests.chaos.cluster import stack as cluster
    from tests.chaos.stack import with_orm

    made, secrets = cluster.prepare(var_dir)
    async with aiohttp.ClientSession() as http:
        stack = cluster.ClusterStack(var_dir, made, secrets, tools, http)
        try:
            load, upstream, rounds, promises = await run(stack)
            disruptions = [each for done in rounds for each in done.disruptions]
            judge = partial(verdict.judge, long_outages=True)
            found: Verdict = await with_orm(judge, load.attempts, upstream.book, disruptions)
            bench.chaos.report(load, found, Counter(each.what for each in rounds), stack.parts.values())
            found.faults += [*promises.faults, *report(rounds, load, promises)]
        finally:
            await stack.stop()
    return found


def main() -> int:
    if os.geteuid() != 0:
        print("make chaos-cluster cuts networks apart in namespaces, which takes root.")
        return 1
    if INSIDE not in os.environ:
        here = ["unshare", "--net", sys.executable, "-m", "bench.chaos_cluster"]
        return subprocess.run(here, env={**os.environ, INSIDE: "yes"}, check=False).returncode
    from bench.chaos import ENVIRONMENT
    from deploy.cluster import services
    from tests.chaos.cluster import stack as cluster
    from tests.chaos.cluster.machines import HERE

    try:
        tools = services.find_tools(PATRONI)
    except services.ToolsMissing as error:
        print(error)
        return 1
    var_dir = Path(tempfile.mkdtemp(prefix="hamiran-cluster-"))
    var_dir.chmod(0o755)
    made, secrets = cluster.prepare(var_dir)
    first = made.webs[0]
    queue = f"redis://:{secrets['valkey_password']}@{first.address}:7002/0"
    os.environ.update(
        {
            **services.product_env(made, first), **ENVIRONMENT, "UPSTREAM_ALLOWED_HOSTS": HERE,
            "DATABASE_URL": cluster.database_url(made, secrets), "REDIS_URL": queue, "LIMITS_URL": queue,
            "HAMIRAN_VAR": str(var_dir / "here"),
        }
    )  # fmt: skip
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(
        f"seed {SEED}, {ROUNDS} rounds (again: CHAOS_SEED={SEED} CHAOS_ROUNDS={ROUNDS} make chaos-cluster)",
        flush=True,
    )
    import django
    import uvloop

    from bench.chaos import tell_faults

    django.setup()
    verdict = uvloop.run(chaos(var_dir, tools))
    if verdict.faults:
        tell_faults(verdict, var_dir / "logs")
        return 1
    if "CHAOS_KEEP" not in os.environ:
        shutil.rmtree(var_dir, ignore_errors=True)
    print("\nAll books agree: nothing lost, nothing charged twice, limits and revocation held everywhere.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
