"""The rule of the limits: the servers' script and the process's own window decide alike, in whatever order."""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits import ADMIT, FINISH, Admission, Limiter, Limits, LocalWindow, duration, window_keys
from proxy.valkey import Client, Script, connect

key_ids = itertools.count(10_000_000)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (250, "250ms"), (1000, "1s"), (1500, "1.5s"), (60_000, "1m0s"), (360_000, "6m0s")],
)
def test_durations_are_written_as_openai_writes_them(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def admit(window: LocalWindow, limits: Limits, *, at: int, tokens: int = 1, request: str = "") -> Admission:
    return window.admit(request or f"r{at}-{len(window.requests)}", limits, tokens, now_ms=at)


def test_no_double_burst_at_an_edge() -> None:
    window, limits = LocalWindow(), Limits(rpm=5, tpm=1000, concurrency=None)
    at = [0, 59_000, 59_001, 59_002, 59_003]
    assert all(admit(window, limits, at=moment).retry_after_ms == 0 for moment in at)
    assert admit(window, limits, at=59_999).retry_after_ms == 1
    assert admit(window, limits, at=60_000).retry_after_ms == 0  # the first one's minute is over
    assert admit(window, limits, at=60_001).retry_after_ms == 58_999  # the burst's is not


def test_retry_after_is_when_enough_tokens_have_left() -> None:
    window, limits = LocalWindow(), Limits(rpm=100, tpm=100, concurrency=None)
    for at, tokens in ((0, 30), (10_000, 30), (20_000, 30)):
        admit(window, limits, at=at, tokens=tokens)
    assert admit(window, limits, at=30_000, tokens=11).retry_after_ms == 30_000
    assert admit(window, limits, at=30_000, tokens=50).retry_after_ms == 40_000
    assert admit(window, limits, at=30_000, tokens=101).retry_after_ms == -1
    assert admit(window, limits, at=70_000, tokens=50).retry_after_ms == 0


def test_an_answer_that_took_longer_than_the_window_counts_when_it_ends() -> None:
    window, limits = LocalWindow(), Limits(rpm=100, tpm=1000, concurrency=None)
    admit(window, limits, at=0, tokens=10, request="long")
    admit(window, limits, at=90_000, tokens=10)
    window.finish("long", 10, 900, now_ms=90_001)
    assert admit(window, limits, at=90_002, tokens=200).retry_after_ms == 59_999


LIMITS = st.builds(Limits, st.integers(1, 6), st.integers(5, 60), st.sampled_from([None, 1, 2, 3]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 40)),
        st.tuples(st.just("finish"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.sampled_from([20_000, 45_000, 61_000])),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(limits=LIMITS, steps=STEPS)
def test_a_server_and_the_process_decide_alike(
    limits_url: str, limits: Limits, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(compare(limits_url, limits, steps))


async def compare(url: str, limits: Limits, steps: list[tuple[str, int]]) -> None:
    """The server counts by a clock that the test sets, so both must agree to the millisecond."""
    client, window, now_ms = connect(url), LocalWindow(), 1_000_000
    shared = Clocked(client, next(key_ids))
    running: list[tuple[str, int]] = []
    try:
        for number, (what, amount) in enumerate(steps):
            now_ms += 1
            if what == "admit":
                own = window.admit(f"r{number}", limits, amount, now_ms=now_ms)
                assert await shared.admit(f"r{number}", limits, amount, now_ms=now_ms) == own
                if own.retry_after_ms == 0:
                    running.append((f"r{number}", amount))
            elif what == "finish" and running:
                request, estimate = running.pop(0)
                window.finish(request, estimate, amount, now_ms=now_ms)
                for _ in range(2):  # its reply was lost: told twice
                    await shared.finish(request, estimate, amount, now_ms=now_ms)
            elif what == "wait":
                now_ms += amount
    finally:
        await client.aclose()


class Clocked:
    """The scripts for one key, with the time of the test instead of the server's."""

    def __init__(self, client: Client, key_id: int) -> None:
        self._client, self._keys = client, window_keys(key_id)

    async def admit(self, request: str, limits: Limits, tokens: int, *, now_ms: int) -> Admission:
        concurrency = limits.concurrency or 0
        reply = await self._run(ADMIT, now_ms, request, limits.rpm, limits.tpm, concurrency, tokens, 10_000)
        return Admission(*reply)

    async def finish(self, request: str, estimate: int, tokens: int, *, now_ms: int) -> None:
        await self._run(FINISH, now_ms, request, estimate, tokens)

    async def _run(self, script: Script, now_ms: int, *args: str | int) -> Any:
        seconds, milliseconds = divmod(now_ms, 1000)
        source = script.source.replace(
            "redis.call('TIME')", f"{{ARGV[{len(args) + 1}], ARGV[{len(args) + 2}]}}"
        )
        assert source != script.source
        command = ("EVAL", source, len(self._keys), *self._keys, *args, seconds, milliseconds * 1000)
        return await self._client.execute_command(*command)


@settings(max_examples=80, deadline=None)
@given(limits=LIMITS, steps=st.lists(st.tuples(st.integers(1, 40_000), st.integers(0, 40)), max_size=30))
def test_no_sixty_seconds_hold_more_than_the_limits(limits: Limits, steps: list[tuple[int, int]]) -> None:
    asyncio.run(look_at_every_minute(replace(limits, concurrency=None), steps))


async def look_at_every_minute(limits: Limits, steps: list[tuple[int, int]]) -> None:
    client, now_ms = connect(django_settings.REDIS_URL), 1_000_000
    shared, admitted = Clocked(client, next(key_ids)), []
    try:
        for number, (pause_ms, tokens) in enumerate(steps):
            now_ms += pause_ms
            answer = await shared.admit(f"r{number}", limits, tokens, now_ms=now_ms)
            if answer.retry_after_ms == 0:
                admitted.append((now_ms, tokens))
    finally:
        await client.aclose()
    for end, _tokens in admitted:
        minute = [tokens for at, tokens in admitted if end - 60_000 < at <= end]
        assert len(minute) <= limits.rpm
        assert sum(minute) <= limits.tpm


@settings(max_examples=80, deadline=None)
@given(limits=LIMITS, steps=STEPS, tokens=st.integers(0, 40))
def test_retry_after_is_true_to_the_millisecond(
    limits: Limits, steps: list[tuple[str, int]], tokens: int
) -> None:
    asyncio.run(wait_as_told(replace(limits, concurrency=None), steps, tokens))


async def wait_as_told(limits: Limits, steps: list[tuple[str, int]], tokens: int) -> None:
    client, now_ms = connect(django_settings.REDIS_URL), 1_000_000
    shared = Clocked(client, next(key_ids))
    try:
        for number, (what, amount) in enumerate(steps):
            now_ms += amount if what == "wait" else 7
            if what == "admit":
                await shared.admit(f"r{number}", limits, amount, now_ms=now_ms)
        wait = (await shared.admit("now", limits, tokens, now_ms=now_ms)).retry_after_ms
        if wait > 0:
            early = await shared.admit("early", limits, tokens, now_ms=now_ms + wait - 1)
            assert early.retry_after_ms == 1
            assert (await shared.admit("then", limits, tokens, now_ms=now_ms + wait)).retry_after_ms == 0
        else:
            assert wait == (-1 if tokens > limits.tpm else 0)
    finally:
        await client.aclose()


async def test_an_admission_that_is_carried_out_twice_counts_once() -> None:
    """As by a Cluster's client that lost the reply and tries again."""
    client, limits = connect(django_settings.REDIS_URL), Limits(rpm=2, tpm=100, concurrency=1)
    shared = Clocked(client, next(key_ids))
    first = await shared.admit("a", limits, 60, now_ms=1_000_000)
    assert first == Admission(0, 1, 60, 60_000, 60_000)
    assert await shared.admit("a", limits, 60, now_ms=1_000_005) == Admission(0, 1, 60, 59_995, 59_995)
    await shared.finish("a", 60, 10, now_ms=1_000_006)
    assert await shared.admit("b", limits, 90, now_ms=1_000_007) == Admission(0, 2, 100, 59_993, 59_993)
    await client.aclose()


async def test_what_a_key_leaves_behind_goes_away_by_itself(limits_url: str) -> None:
    client, key_id = connect(limits_url), next(key_ids)
    limiter = Limiter(client, running_seconds=600)
    await limiter.admit(key_id=key_id, request_id="r", limits=Limits(10, 1000, 2), tokens=5)
    for name in window_keys(key_id):
        assert 0 < await client.pttl(name) <= 600_000
    await client.aclose()
