"""Hamiran beside LiteLLM and Portkey, same machine, upstream and load: `make bench` (bench/README.md says how).

BENCH_ONLY names some of ROWS (with commas), BENCH_ROUNDS how often each is measured, BENCH_SECONDS for how long.
A run of all rows writes the table and the picture; every run prints its table and keeps its figures in var/bench.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

from bench import builds, contenders, measure, picture, processes, report
from bench.contenders import Contender
from bench.measure import Sample
from bench.protocols import NATIVE, native_model
from bench.report import Results, Run

ROUNDS = 5
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
README = Path(__file__).with_name("README.md")
# A just-in-time compiler and full caches are part of a gateway that has run for a while.
WARM_UP_SECONDS = 4.0

Row = Callable[[Contender], Sample]
Opener = Callable[[Path, str], AbstractContextManager[Contender]]
GATEWAYS: dict[str, Opener] = {
    "Hamiran": lambda logs, url: builds.running(builds.THIS, logs, url, further=[native_model(url)]),
    "LiteLLM": contenders.litellm,
    "Portkey": contenders.portkey,
}
EVERYBODY = ("direct", *GATEWAYS)


def messages(who: Contender, *, model: str = "") -> Sample:
    """The row `stream` in another protocol; without a `model` of its own kind it is translated."""
    url = urljoin(who.url, "/v1/messages")
    return measure.streams(who, at_once=300, seconds=SECONDS, url=url, model=model)


# What is measured, and of whom. Only Hamiran is asked for 1,000 paced streams: the others are far below that rate.
ROWS: dict[str, tuple[tuple[str, ...], Row]] = {
    "whole": (EVERYBODY, lambda who: measure.whole(who, at_once=64, seconds=SECONDS)),
    "single": (EVERYBODY, lambda who: measure.whole(who, at_once=1, seconds=SECONDS)),
    "stream": (
        EVERYBODY,
        lambda who: measure.streams(who, at_once=300, seconds=SECONDS),
    ),
    "messages": (("Hamiran",), lambda who: messages(who, model=NATIVE)),
    "translated": (("Hamiran",), messages),
    "thousand": (
        ("direct", "Hamiran"),
        lambda who: measure.paced_streams(who, at_once=1000, seconds=SECONDS),
    ),
    "garbage": (("Hamiran",), lambda who: measure.refusals(who, seconds=SECONDS)),
}


def turns(names: Iterable[str], number: int) -> list[str]:
    """Who comes after whom in this round: every second one backwards, so that nobody always has the same before it."""
    return list(names) if number % 2 else list(names)[::-1]


def measure_all(asked: dict[str, tuple[str, ...]], openers: Mapping[str, Opener], *, rounds: int) -> Run:
    """Round by round, row by row, contender by contender: `asked` says whose figures each row holds."""
    load_before = os.getloadavg()[0]
    print(f"load {load_before:.2f} before the run; {rounds} rounds of {SECONDS:g} s", flush=True)
    processes.leave_the_gateway_core()
    logs = contenders.FOREIGN / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    results: Results = {row: {name: [] for name in names} for row, names in asked.items()}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(contenders.direct(logs))
        everybody = {"direct": upstream}
        wanted = {name for names in asked.values() for name in names}
        for name, open_one in openers.items():
            if name in wanted:
                everybody[name] = stack.enter_context(open_one(logs, upstream.url))
        for contender in everybody.values():
            measure.whole(contender, at_once=64, seconds=WARM_UP_SECONDS)
        width = max(map(len, everybody))
        for number in range(1, rounds + 1):
            for row, names in asked.items():
                for name in turns(names, number):
                    results[row][name].append(sample := ROWS[row][1](everybody[name]))
                    told = "  ".join(f"{key} {value:,.1f}" for key, value in sample.figures.items())
                    print(
                        f"{number}/{rounds} {row:<8} {name:<{width}} {told}  {sample.trouble or ''}",
                        flush=True,
                    )
    return Run(
        results=results,
        versions={name: contender.version for name, contender in everybody.items()},
        at=datetime.now(tz=UTC),
        rounds=rounds,
        seconds=SECONDS,
        load_before=load_before,
    )


def asked_rows() -> list[str]:
    """Those of BENCH_ONLY, or all. Raises SystemExit."""
    rows = [row for row in os.environ.get("BENCH_ONLY", "").split(",") if row] or list(ROWS)
    if unknown := set(rows) - set(ROWS):
        sys.exit(f"BENCH_ONLY: there is no {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}.")
    return rows


def asked_rounds(usual: int) -> int:
    return int(os.environ.get("BENCH_ROUNDS", usual))


def keep(run: Run, name: str) -> Path:
    """Every figure of the run, in var/bench."""
    raw = contenders.FOREIGN / f"{name}.json"
    raw.write_text(json.dumps(asdict(run), default=str, indent=1))
    return raw


def main() -> None:
    began = time.monotonic()
    rows = asked_rows()
    run = measure_all({row: ROWS[row][0] for row in rows}, GATEWAYS, rounds=asked_rounds(ROUNDS))
    raw = keep(run, "gateways")
    table = report.table(run)
    print(f"\n{table}\n\n{(time.monotonic() - began) / 60:.1f} minutes; all figures are in {raw}")
    if len(rows) == len(ROWS):
        report.write(README, table)
        README.with_name("gateways.svg").write_text(picture.draw(run))
        print(f"Written: {README}, gateways.svg")


if __name__ == "__main__":
    main()
