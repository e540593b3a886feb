"""What the samples say: medians, ratios of the same round, goals met or missed, as a Markdown table."""

import math
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from bench.measure import Sample

Results = dict[str, dict[str, list[Sample]]]  # row, contender, rounds

SATURATED = ("whole", "stream")
QUIET_SHARE = 0.9
QUIET_COMMANDS, QUIET_POSTGRES_US = 50, 5.0
BEGIN, END = "<!-- gateways: begin -->", "<!-- gateways: end -->"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmark; the rounds of all contenders in a row happened side by side."""

    results: Results
    versions: dict[str, str]
    at: datetime
    rounds: int
    seconds: float
    load_before: float

    def series(self, row: str, who: str, figure: str) -> list[float]:
        """One value per round; empty if it was not measured."""
        return [sample.figures.get(figure, math.nan) for sample in self.results.get(row, {}).get(who, [])]

    def trouble(self, row: str, who: str) -> Counter[str]:
        """What went wrong in all rounds together."""
        total = Counter[str]()
        for sample in self.results.get(row, {}).get(who, []):
            total.update(sample.trouble)
        return total

    def fails(self, row: str, who: str) -> bool:
        """Nothing came through and something went wrong."""
        return bool(self.trouble(row, who)) and not any(self.series(row, who, "a_second"))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a figure of each contender, and what was hoped for of Hamiran's.

    `added`: over the direct way in the same round. `goal` is its text; `is_met` judges the whole run.
    """

    title: str
    row: str
    figure: str
    digits: int = 0
    added: bool = False
    goal: str = ""
    is_met: Callable[[Run], bool] | None = None

    def series(self, run: Run, who: str) -> list[float]:
        values = run.series(self.row, who, self.figure)
        if self.added and values:
            base = run.series(self.row, "direct", self.figure)
            return [value - zero for value, zero in zip(values, base, strict=True)]
        return values

    def middle(self, run: Run, who: str) -> float:
        return _median(self.series(run, who))


def ratio(run: Run, line: Line, other: str, *, other_figure: str = "") -> list[float]:
    """Hamiran's figure over the other's, round by round."""
    ours = line.series(run, "Hamiran")
    theirs = run.series(line.row, other, other_figure) if other_figure else line.series(run, other)
    return [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]


def _at_least(line: Line, **times: float) -> Callable[[Run], bool]:
    return lambda run: all(_median(ratio(run, line, who)) >= minimum for who, minimum in times.items())


def _at_most(line: Line, maximum: float) -> Callable[[Run], bool]:
    return lambda run: line.middle(run, "Hamiran") <= maximum


def _at_most_of_a_chat(line: Line, maximum: float, run: Run) -> bool:
    """Beside the row `stream` of the same round."""
    chats = run.series("stream", "Hamiran", line.figure)
    ours = line.series(run, "Hamiran")
    return _median([one / chat for one, chat in zip(ours, chats, strict=False) if chat > 0]) <= maximum


def lines() -> Iterator[Line]:
    rate = Line("not streaming, 64 at once: requests/s", "whole", "a_second")
    yield _with(rate, "≥ 20 × LiteLLM, ≥ 2 × Portkey", _at_least(rate, LiteLLM=20, Portkey=2))
    yield Line("CPU of the web process, µs a request", "whole", "web_us")
    everything = Line("CPU with PostgreSQL and Valkey, µs a request", "whole", "all_us")
    tenth = "≤ 1/10 of LiteLLM's web process"
    yield _with(
        everything,
        tenth,
        lambda run: _median(ratio(run, everything, "LiteLLM", other_figure="web_us")) <= 0.1,
    )
    yield Line("resident, MB", "whole", "rss_mb")
    for share, maximum in (("p50", 4), ("p99", 10)):
        added = Line(f"one at a time: added {share}, ms", "single", f"{share}_ms", 2, added=True)
        yield _with(added, f"≤ {maximum}", _at_most(added, maximum))
    chunks = Line("streaming, 300 at once: chunks/s", "stream", "a_second")
    yield _with(chunks, "≥ 20 × LiteLLM", _at_least(chunks, LiteLLM=20))
    cost = Line("CPU of the web process, µs a chunk", "stream", "web_us", 1)
    yield _with(cost, "≤ 50", _at_most(cost, 50))
    for row, what, most in (("messages", "passed on", 1.1), ("translated", "translated to a chat", 1.6)):
        told = Line(f"Messages, {what}: CPU of the web process, µs a chunk", row, "web_us", 1)
        yield _with(told, f"≤ {most} × a chat’s", partial(_at_most_of_a_chat, told, most))
    paced = Line("1,000 streams of 200 words (10 s at 20 chunks/s): chunks/s", "thousand", "a_second")
    yield _with(paced, "20,000, none broken", lambda run: _is_whole(run, paced))
    yield Line("CPU of the web process, µs a chunk", "thousand", "web_us", 1)
    first = Line("added time to first token, p99, ms", "thousand", "p99_ms", 1, added=True)
    yield _with(first, "≤ 50", _at_most(first, 50))
    resident = Line("resident, MB", "thousand", "rss_mb")
    yield _with(resident, "≤ 200", _at_most(resident, 200))
    garbage = Line("refusals of a garbage key/s", "garbage", "a_second")
    yield _with(garbage, "≥ 5,000, no I/O", lambda run: _is_cheap(run, garbage))


def _with(line: Line, goal: str, is_met: Callable[[Run], bool]) -> Line:
    return Line(line.title, line.row, line.figure, line.digits, line.added, goal, is_met)


def _is_whole(run: Run, line: Line) -> bool:
    """Nothing broken, and nearly all that upstream sends has come through."""
    return not run.trouble(line.row, "Hamiran") and line.middle(run, "Hamiran") >= 19_500


def _is_cheap(run: Run, line: Line) -> bool:
    """Tens of thousands of refusals made no command to Valkey and no query; the catalogue is read all along."""
    asked = max(run.series("garbage", "Hamiran", "valkey_commands"))
    queried = max(run.series("garbage", "Hamiran", "PostgreSQL_us"))
    return line.middle(run, "Hamiran") >= 5000 and asked < QUIET_COMMANDS and queried < QUIET_POSTGRES_US


def table(run: Run) -> str:
    """The whole section between the markers: when, on what, the table, and what went wrong."""
    columns = ["direct", "Hamiran", "LiteLLM", "Portkey"]
    names = [f"{name} {run.versions.get(name, '')}".strip() for name in columns]
    head = ["", *names, "Hamiran ÷ LiteLLM", "÷ Portkey", "goal", ""]
    rows = [head, ["---", *["--:"] * 6, "---", "---"]]
    for line in lines():
        if line.row in run.results:
            rows.append(_cells(run, line, columns))
    said = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{when(run)}\n\n{said}\n\n{busy(run, columns[1:])}\n\n{troubles(run)}"


def _cells(run: Run, line: Line, columns: list[str]) -> list[str]:
    cells = [line.title]
    for who in columns:
        values = [] if line.added and who == "direct" else line.series(run, who)
        cells.append("fails" if run.fails(line.row, who) else spread(values, line.digits))
    for who in ("LiteLLM", "Portkey"):
        ratios = ratio(run, line, who)
        digits = 1 if _median(ratios) >= 2 else 2 if _median(ratios) >= 0.1 else 3
        cells.append("" if run.fails(line.row, who) else spread(ratios, digits))
    verdict = "" if line.is_met is None else ("met" if line.is_met(run) else "**missed**")
    return [*cells, line.goal, verdict]


def when(run: Run) -> str:
    return (
        f"{run.at:%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {os.cpu_count()} cores, load "
        f"{run.load_before:.2f} before the run; medians of {run.rounds} rounds of {run.seconds:g} s "
        "(streams: until as many answers have ended as there are clients), in brackets the "
        "lowest and the highest."
    )


def busy(run: Run, whom: Iterable[str]) -> str:
    """How much of its core each had where it could use all of it; other work on the machine shows here."""
    shares = {who: [value for row in SATURATED for value in run.series(row, who, "web_busy")] for who in whom}
    told = [f"{who} {min(values):.0%} to {max(values):.0%}" for who, values in shares.items() if values]
    if not told:
        return ""
    quiet = min(min(values) for values in shares.values() if values) >= QUIET_SHARE
    verdict = (
        "" if quiet else " **The machine was not quiet: run it again, trust CPU times and nothing else.**"
    )
    return f"Share of the core that the web process had while it could use all of it: {', '.join(told)}.{verdict}"


def troubles(run: Run) -> str:
    """Broken streams and failed requests, one line per contender; one that is not named had none."""
    found = [
        f"- {who}, `{row}`: " + ", ".join(f"{count:,} × {what}" for what, count in trouble.most_common())
        for row, measured in run.results.items()
        for who in measured
        if (trouble := run.trouble(row, who))
    ]
    return "\n".join(["Failed requests and broken streams:", "", *found]) if found else "Nothing failed."


def write(readme: Path, section: str) -> None:
    """Puts the section between the markers of the file."""
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{section}\n{END}{after}")


def spread(values: list[float], digits: int) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(known), median(known), max(known)))
    return middle if low == high else f"{middle} ({low}–{high})"


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan
