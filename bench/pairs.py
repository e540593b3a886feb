"""This build beside that of another commit, in pairs: `BENCH_BASE=<commit> make bench` (bench/README.md says how).

BENCH_ONLY, BENCH_ROUNDS and BENCH_SECONDS are those of bench/gateways.py.
"""

import functools
import os
import time

from bench import builds, gateways, report
from bench.report import Line, Run

PAIRS = 10
LINES = (
    Line("not streaming, 64 at once: requests/s", "whole", "a_second"),
    Line("CPU of the web process, µs a request", "whole", "web_us"),
    Line("CPU with PostgreSQL and Valkey, µs a request", "whole", "all_us"),
    Line("resident, MB", "whole", "rss_mb"),
    Line("one at a time: p50, ms", "single", "p50_ms", 2),
    Line("p99, ms", "single", "p99_ms", 2),
    Line("CPU of the web process, µs a request", "single", "web_us"),
    Line("CPU with PostgreSQL and Valkey, µs a request", "single", "all_us"),
    Line("streaming, 300 at once: chunks/s", "stream", "a_second"),
    Line("CPU of the web process, µs a chunk", "stream", "web_us", 1),
    Line("1,000 streams of 200 words (10 s at 20 chunks/s): chunks/s", "thousand", "a_second"),
    Line("CPU of the web process, µs a chunk", "thousand", "web_us", 1),
    Line("time to first token, p99, ms", "thousand", "p99_ms", 1),
    Line("resident, MB", "thousand", "rss_mb"),
    Line("Messages, passed on: CPU of the web process, µs a chunk", "messages", "web_us", 1),
    Line("translated to a chat: CPU of the web process, µs a chunk", "translated", "web_us", 1),
    Line("refusals of a garbage key/s", "garbage", "a_second"),
    Line("CPU of the web process, µs a refusal", "garbage", "web_us"),
)


def table(run: Run, base: str, new: str) -> str:
    """When, on what, the table and what went wrong. `base` is the contender's name, `new` the commit of this build."""
    rows = [["", base, f"Hamiran {new}", "new ÷ base"], ["---", "--:", "--:", "--:"]]
    for line in LINES:
        if line.row in run.results:
            figures = [report.spread(line.series(run, who), line.digits) for who in (base, "Hamiran")]
            rows.append([line.title, *figures, report.spread(report.ratio(run, line, base), 2)])
    said = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    parts = [report.when(run), said, report.busy(run, (base, "Hamiran")), report.troubles(run)]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    began = time.monotonic()
    base = builds.base(os.environ["BENCH_BASE"])
    new = builds.this_commit()
    openers = {build.name: functools.partial(builds.running, build) for build in (base, builds.THIS)}
    compared = {line.row for line in LINES}
    asked = {row: tuple(openers) for row in gateways.asked_rows() if row in compared}
    run = gateways.measure_all(asked, openers, rounds=gateways.asked_rounds(PAIRS))
    raw = gateways.keep(run, base.home.name)
    print(f"\n{table(run, base.name, new)}\n")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; all figures are in {raw}")


if __name__ == "__main__":
    main()
