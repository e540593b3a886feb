"""One contender measured once: not streaming through wrk, streaming through our own load; figures by name."""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import uvloop

from bench.contenders import Contender, body
from bench.stream_load import StreamLoad, Target

WARM_UP_SECONDS = 1.0
STREAM_WARM_UP_SECONDS = 2.0
DRAIN_SECONDS = 3.0
# The right shape, so that only its checksum tells that it was never issued.
GARBAGE_KEY = "hm-" + "A" * 36

WRK = """
wrk.method = "POST"
wrk.body = %s
%s
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\n{"requests": %%d, "us": %%d, "refused": %%d, "lost": %%d, "p50": %%f, "p99": %%f}\\n',
        summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """`figures` end in their unit; `trouble` counts what went wrong, by what it was."""

    figures: dict[str, float]
    trouble: dict[str, int] = field(default_factory=dict)


def whole(contender: Contender, *, at_once: int, seconds: float) -> Sample:
    """Answers in one piece, asked for by `at_once` connections that never rest."""
    with _wrk(contender.url, contender.headers) as script, contender.thawed():
        _run_wrk(script, contender.url, at_once, WARM_UP_SECONDS)
        meter = _Meter(contender)
        got = _run_wrk(script, contender.url, at_once, seconds)
        good = max(1, got["requests"] - got["refused"])
        figures = {
            "a_second": (got["requests"] - got["refused"]) / (got["us"] / 1e6),
            "p50_ms": got["p50"] / 1000,
            "p99_ms": got["p99"] / 1000,
        } | meter.read(per=good)
    return Sample(figures, _counted(refused=got["refused"], lost=got["lost"]))


def refusals(contender: Contender, *, seconds: float) -> Sample:
    """Requests with a key that was never issued, 64 at once, and what they make the engines do."""
    from django.conf import settings

    headers = contender.headers | {"authorization": f"Bearer {GARBAGE_KEY}"}
    with (
        _wrk(contender.url, headers) as script,
        contender.thawed(),
        redis.Redis.from_url(settings.REDIS_URL) as valkey,
    ):
        _run_wrk(script, contender.url, 64, WARM_UP_SECONDS)
        meter = _Meter(contender)
        before = valkey.info("stats")["total_commands_processed"]
        got = _run_wrk(script, contender.url, 64, seconds)
        commands = valkey.info("stats")["total_commands_processed"] - before - 1  # the first INFO
        figures = {
            "a_second": got["refused"] / (got["us"] / 1e6),
            "valkey_commands": commands / max(1, got["refused"]),
        } | meter.read(per=max(1, got["refused"]))
    return Sample(figures, _counted(answered=got["requests"] - got["refused"], lost=got["lost"]))


def streams(contender: Contender, *, pace: tuple[int, int], at_once: int, seconds: float) -> Sample:
    """Streamed answers to `at_once` clients; a chunk is an event with a word."""
    words, every_ms = pace
    load = StreamLoad(Target(contender.url, contender.headers, words, every_ms), at_once=at_once)

    async def run() -> Sample:
        await load.ramp()
        await asyncio.sleep(STREAM_WARM_UP_SECONDS)
        load.fresh_tally()
        meter, began = _Meter(contender), time.perf_counter()
        await asyncio.sleep(seconds)
        tally, spent = load.fresh_tally(), time.perf_counter() - began
        figures = {
            "a_second": tally.words / spent,
            "whole": float(tally.whole),
            "first_p50_ms": tally.first_word_ms(0.50),
            "first_p99_ms": tally.first_word_ms(0.99),
        } | meter.read(per=max(1, tally.words))
        await load.drain(timeout_seconds=DRAIN_SECONDS + words * every_ms / 1000)
        return Sample(figures, dict(tally.broken + load.tally.broken))

    with contender.thawed():
        return uvloop.run(run())


class _Meter:
    """CPU since it was made, in microseconds `per` what was done, and the resident memory of the web process now."""

    def __init__(self, contender: Contender) -> None:
        self._parts = {"web": contender.web} if contender.web else {}
        self._parts |= {engine.name: engine for engine in contender.engines}
        self._began = time.perf_counter()
        self._before = {name: part.cpu_seconds() for name, part in self._parts.items()}

    def read(self, *, per: float) -> dict[str, float]:
        spent = {name: part.cpu_seconds() - self._before[name] for name, part in self._parts.items()}
        if not spent:
            return {}
        figures = {f"{name}_us": seconds * 1e6 / per for name, seconds in spent.items()}
        figures["all_us"] = sum(spent.values()) * 1e6 / per
        figures["web_busy"] = spent["web"] / (time.perf_counter() - self._began)
        figures["rss_mb"] = self._parts["web"].rss_mb()
        return figures


@contextmanager
def _wrk(url: str, headers: dict[str, str]) -> Iterator[str]:
    """A wrk script that asks `url` with these headers and prints its figures as JSON."""
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "ask.lua"
        script.write_text(WRK % (json.dumps(body(stream=False)), "\n".join(lines)))
        yield str(script)


def _run_wrk(script: str, url: str, at_once: int, seconds: float) -> dict[str, int]:
    command = ["wrk", "-t1", f"-c{at_once}", f"-d{seconds:g}s", "--timeout", "30s", "-s", script, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def _counted(**trouble: int) -> dict[str, int]:
    return {name: count for name, count in trouble.items() if count}
