"""One contender measured once, as figures by name: answers in one piece, refusals, streams."""

import asyncio
import time
from dataclasses import dataclass, field

import redis
import uvloop

from bench.contenders import AS_FAST_AS_IT_GOES, TWENTY_A_SECOND, Contender
from bench.load import Load, Target

WARM_UP_SECONDS = 2.0
DRAIN_SECONDS = 3.0
CYCLE_MAX_SECONDS = 60.0
TICK_SECONDS = 0.1
# The right shape, so that only its checksum tells that it was never issued.
GARBAGE_KEY = "hm-" + "A" * 36


@dataclass(frozen=True, slots=True)
class Sample:
    """`figures` end in their unit; `trouble` counts what went wrong, by what it was."""

    figures: dict[str, float]
    trouble: dict[str, int] = field(default_factory=dict)


def whole(contender: Contender, *, at_once: int, seconds: float) -> Sample:
    """Whole answers, requested by `at_once` clients without a pause."""
    target = Target(contender.url, contender.headers, *AS_FAST_AS_IT_GOES, is_stream=False)
    with contender.thawed():
        return uvloop.run(_run(contender, target, at_once=at_once, seconds=seconds))


def refusals(contender: Contender, *, seconds: float) -> Sample:
    """Requests with a key that was never issued, 64 at once."""
    headers = contender.headers | {"authorization": f"Bearer {GARBAGE_KEY}"}
    target = Target(contender.url, headers, *AS_FAST_AS_IT_GOES, is_stream=False, accepted=401)
    with contender.thawed():
        return uvloop.run(_run(contender, target, at_once=64, seconds=seconds))


def streams(contender: Contender, *, at_once: int, seconds: float, url: str = "", model: str = "") -> Sample:
    """Answers streamed faster than any gateway relays them, to `at_once` clients; a chunk is an event with a word.

    `url` and `model`: where and of what they are asked, where that is not the contender's own.
    """
    target = Target(url or contender.url, contender.headers, *AS_FAST_AS_IT_GOES, model=model)
    with contender.thawed():
        return uvloop.run(_run(contender, target, at_once=at_once, seconds=seconds))


def paced_streams(contender: Contender, *, at_once: int, seconds: float) -> Sample:
    """Answers streamed at a pace that can be kept: one that has not ended in time at the end is broken."""
    target = Target(contender.url, contender.headers, *TWENTY_A_SECOND)
    with contender.thawed():
        return uvloop.run(_run(contender, target, at_once=at_once, seconds=seconds, all_end=True))


async def _run(
    contender: Contender, target: Target, *, at_once: int, seconds: float, all_end: bool = False
) -> Sample:
    load = Load(target, at_once=at_once)
    await load.ramp()
    await asyncio.sleep(WARM_UP_SECONDS)
    before = load.fresh_tally()
    meter, began = _Meter(contender), time.perf_counter()
    await asyncio.sleep(seconds)
    if target.is_stream:
        await _cycle(load, at_once=at_once)
    tally, spent = load.fresh_tally(), time.perf_counter() - began
    count = tally.words if target.is_stream else tally.whole
    figures = {
        "a_second": count / spent,
        "whole": float(tally.whole),
        "p50_ms": tally.wait_ms(0.50),
        "p99_ms": tally.wait_ms(0.99),
    } | meter.read(per=count)
    cut = await load.drain(timeout_seconds=DRAIN_SECONDS + target.words * target.every_ms / 1000)
    broken = before.broken + tally.broken + load.tally.broken
    if cut and all_end:
        broken["cut off at the end"] += cut
    return Sample(figures, dict(broken))


async def _cycle(load: Load, *, at_once: int) -> None:
    """Waits for as many ends of answers as there are clients: their beginnings, middles and ends cost different CPU."""
    for _ in range(round(CYCLE_MAX_SECONDS / TICK_SECONDS)):
        if load.tally.whole + load.tally.broken.total() >= at_once:
            return
        await asyncio.sleep(TICK_SECONDS)


class _Meter:
    """What the processes of a contender spent since it was made, and what the web process holds in memory now."""

    def __init__(self, contender: Contender) -> None:
        self._parts = {"web": contender.web} if contender.web else {}
        self._parts |= {engine.name: engine for engine in contender.engines}
        self._valkey_url = contender.valkey_url
        self._commands = self._valkey_commands()
        self._began = time.perf_counter()
        self._before = {name: part.cpu_seconds() for name, part in self._parts.items()}

    def read(self, *, per: int) -> dict[str, float]:
        """CPU in microseconds `per` what was done, and the share of its core that the web process had."""
        spent = {name: part.cpu_seconds() - self._before[name] for name, part in self._parts.items()}
        if not spent:
            return {}
        figures = {"web_busy": spent["web"] / (time.perf_counter() - self._began)}
        figures["rss_mb"] = self._parts["web"].rss_mb()
        if per:
            figures |= {f"{name}_us": seconds * 1e6 / per for name, seconds in spent.items()}
            figures["all_us"] = sum(spent.values()) * 1e6 / per
        if self._valkey_url:
            figures["valkey_commands"] = float(self._valkey_commands() - self._commands)
        return figures

    def _valkey_commands(self) -> int:
        """How many commands Valkey has carried out, but for the question itself."""
        if not self._valkey_url:
            return 0
        with redis.Redis.from_url(self._valkey_url) as valkey:
            return int(valkey.info("stats")["total_commands_processed"])
