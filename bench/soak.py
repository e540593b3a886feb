"""1,000 streams of 200 words at once, 20 chunks/s each, through one web process for SOAK_MINUTES (10): `make soak`.

Twenty of the clients leave in the middle of every answer. Exit status 1 and a list where something is not as it
should be: a broken stream, a hold left, a broken rule of the ledger, memory that grows.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from statistics import mean

import psycopg
import uvloop

from bench import builds, contenders, processes
from bench.contenders import TWENTY_A_SECOND, Contender
from bench.load import Load, Tally, Target

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
AT_ONCE, LEAVERS = 1000, 20
SAMPLE_SECONDS = 10.0
DIRECT_SECONDS = 20.0
DRAIN_SECONDS = 30.0
SETTLE_SECONDS = 15.0
ADDED_P99_MS = 50
RESIDENT_MB = 170
GROWTH = 1.01  # of the last third over the second


@dataclass(frozen=True, slots=True)
class Span:
    """What one stretch of the soak showed; `rss_mb` and `cpu`, a share of its core, are the web process's."""

    seconds: float
    tally: Tally
    rss_mb: float
    cpu: float

    def line(self, at: float) -> str:
        first = [self.tally.wait_ms(share) for share in (0.5, 0.99)]
        return (
            f"| {at:,.0f} | {self.tally.words / self.seconds:,.0f} | {self.tally.whole:,} | {self.tally.left:,} "
            f"| {self.tally.broken.total():,} | {first[0]:.1f} | {first[1]:.1f} | {self.rss_mb:.1f} | {self.cpu:.0%} |"
        )


async def soak(contender: Contender, *, seconds: float, leavers: int) -> list[Span]:
    """Spans of SAMPLE_SECONDS, printed as they come; in the first the streams begin, in the last every answer ends."""
    words, every_ms = TWENTY_A_SECOND
    load = Load(Target(contender.url, contender.headers, words, every_ms), at_once=AT_ONCE, leavers=leavers)
    spans: list[Span] = []
    began = time.perf_counter()

    async def span(what: Awaitable[None]) -> None:
        cpu, start = _cpu(contender), time.perf_counter()
        await what
        spent = time.perf_counter() - start
        rss = contender.web.rss_mb() if contender.web else 0
        spans.append(Span(spent, load.fresh_tally(), rss, (_cpu(contender) - cpu) / spent))
        print(spans[-1].line(time.perf_counter() - began), flush=True)

    async def end() -> None:
        if cut := await load.drain(timeout_seconds=DRAIN_SECONDS):
            load.tally.broken["cut off at the end"] += cut

    await span(load.ramp())
    while time.perf_counter() - began < seconds:
        await span(asyncio.sleep(SAMPLE_SECONDS))
    await span(end())
    return spans


def _cpu(contender: Contender) -> float:
    return contender.web.cpu_seconds() if contender.web else 0


def open_holds(database_url: str) -> int:
    """Holds that are still there SETTLE_SECONDS after the last answer."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with psycopg.connect(database_url, autocommit=True) as connection:
        while True:
            (remaining,) = connection.execute("SELECT count(*) FROM wallet_hold").fetchone() or (0,)
            if not remaining or time.monotonic() > deadline:
                return int(remaining)
            time.sleep(0.2)


def judge(direct: list[Span], spans: list[Span], holds: int) -> list[str]:
    """What is not as it should be."""
    broken = sum((span.tally.broken for span in spans), start=Counter[str]())
    first = _first_words(spans)
    added = first.wait_ms(0.99) - _first_words(direct).wait_ms(0.99)
    resident = [span.rss_mb for span in spans[:-1]]
    third = len(resident) // 3
    print(
        f"\n{sum(span.tally.whole for span in spans):,} answers whole, {sum(span.tally.left for span in spans):,} left "
        f"by their clients, {broken.total():,} broken {dict(broken) or ''}\n"
        f"time to first token p50 {first.wait_ms(0.5):.1f} ms, p99 {first.wait_ms(0.99):.1f} ms "
        f"(added p99 {added:.1f} ms)\nresident at most {max(resident):.1f} MB; open holds {holds}"
    )
    faults = []
    if broken:
        faults.append(f"{broken.total():,} streams broke")
    if added > ADDED_P99_MS:
        faults.append(
            f"the p99 of the first token is {added:.1f} ms later than direct; {ADDED_P99_MS} is the goal"
        )
    if max(resident) > RESIDENT_MB:
        faults.append(f"resident {max(resident):.1f} MB; {RESIDENT_MB} is the goal")
    if third:
        second, last = mean(resident[third : 2 * third]), mean(resident[2 * third :])
        print(f"resident, mean of the second third {second:.1f} MB, of the last third {last:.1f} MB")
        if last > second * GROWTH:
            faults.append("memory grows")
    if holds:
        faults.append(f"{holds} holds are left")
    return faults


def _first_words(spans: list[Span]) -> Tally:
    together = Tally()
    for span in spans:
        together.waits += span.tally.waits
    return together


def main() -> int:
    print(f"load {os.getloadavg()[0]:.2f} before the run", flush=True)
    processes.leave_the_gateway_core()
    logs = contenders.FOREIGN / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(contenders.direct(logs))
        hamiran = stack.enter_context(builds.running(builds.THIS, logs, upstream.url))
        for who in (upstream, hamiran):
            title = f"{who.name}, {AT_ONCE:,} streams"
            print(
                f"\n{title}\n\n| s | chunks/s | whole | left | broken | p50 ms | p99 ms | MB | CPU |",
                flush=True,
            )
            print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
            if who is upstream:
                direct = uvloop.run(soak(upstream, seconds=DIRECT_SECONDS, leavers=0))
            else:
                with hamiran.thawed():
                    spans = uvloop.run(soak(hamiran, seconds=MINUTES * 60, leavers=LEAVERS))
                    faults = judge(direct, spans, open_holds(hamiran.database_url))
    for fault in faults:
        print(" -", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
