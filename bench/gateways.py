"""Hamiran beside LiteLLM and Portkey, same machine, upstream and load: `make bench` (bench/README.md says how).

BENCH_ONLY names some of ROWS (with commas), BENCH_ROUNDS how often each is measured, BENCH_SECONDS for how long.
A run of all rows writes the table and the picture; every run prints its table and keeps its figures in var/bench.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import contenders, measure, picture, processes, report
from bench.contenders import Contender
from bench.measure import Sample
from bench.report import Results, Run

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
README = Path(__file__).with_name("README.md")
# A just-in-time compiler and full caches are part of a gateway that has run for a while.
WARM_UP_SECONDS = 4.0

Row = Callable[[Contender], Sample]
GATEWAYS = {"Hamiran": contenders.hamiran, "LiteLLM": contenders.litellm, "Portkey": contenders.portkey}
EVERYBODY = ("direct", *GATEWAYS)
# What is measured, and of whom. Only Hamiran is asked for 1,000 paced streams: the others are far below that rate.
ROWS: dict[str, tuple[tuple[str, ...], Row]] = {
    "whole": (EVERYBODY, lambda who: measure.whole(who, at_once=64, seconds=SECONDS)),
    "single": (EVERYBODY, lambda who: measure.whole(who, at_once=1, seconds=SECONDS)),
    "stream": (
        EVERYBODY,
        lambda who: measure.streams(who, pace=contenders.AS_FAST_AS_IT_GOES, at_once=300, seconds=SECONDS),
    ),
    "thousand": (
        ("direct", "Hamiran"),
        lambda who: measure.streams(who, pace=contenders.TWENTY_A_SECOND, at_once=1000, seconds=SECONDS),
    ),
    "garbage": (("Hamiran",), lambda who: measure.refusals(who, seconds=SECONDS)),
}


def measure_all(rows: list[str], logs: Path) -> tuple[Results, dict[str, str]]:
    """Round by round, row by row, contender by contender; the figures of each, and the versions."""
    results: Results = {row: {name: [] for name in ROWS[row][0]} for row in rows}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(contenders.direct(logs))
        everybody = {"direct": upstream}
        wanted = {name for measured in results.values() for name in measured}
        for name, open_one in GATEWAYS.items():
            if name in wanted:
                everybody[name] = stack.enter_context(open_one(logs, upstream.url))
        for contender in everybody.values():
            measure.whole(contender, at_once=64, seconds=WARM_UP_SECONDS)
        for number in range(1, ROUNDS + 1):
            for row in rows:
                for name, samples in results[row].items():
                    samples.append(sample := ROWS[row][1](everybody[name]))
                    told = "  ".join(f"{key} {value:,.1f}" for key, value in sample.figures.items())
                    print(f"{number}/{ROUNDS} {row:<8} {name:<8} {told}  {sample.trouble or ''}", flush=True)
    return results, {name: contender.version for name, contender in everybody.items()}


def main() -> None:
    rows = [row for row in os.environ.get("BENCH_ONLY", "").split(",") if row] or list(ROWS)
    if unknown := set(rows) - set(ROWS):
        sys.exit(f"BENCH_ONLY: there is no {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}.")
    load_before, began = os.getloadavg()[0], time.monotonic()
    print(f"load {load_before:.2f} before the run; {ROUNDS} rounds of {SECONDS:g} s", flush=True)
    processes.leave_the_gateway_core()
    logs = contenders.FOREIGN / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    results, versions = measure_all(rows, logs)
    run = Run(
        results=results,
        versions=versions,
        at=datetime.now(tz=UTC),
        rounds=ROUNDS,
        seconds=SECONDS,
        load_before=load_before,
    )
    raw = contenders.FOREIGN / "gateways.json"
    raw.write_text(json.dumps(asdict(run), default=str, indent=1))
    table = report.table(run)
    print(f"\n{table}\n\n{(time.monotonic() - began) / 60:.1f} minutes; all figures are in {raw}")
    if len(rows) == len(ROWS):
        report.write(README, table)
        README.with_name("gateways.svg").write_text(picture.draw(run))
        print(f"Written: {README}, gateways.svg")


if __name__ == "__main__":
    main()
