"""The rule of the limits: the servers' script and the process's own window decide alike, in whatever order."""

import asyncio
import itertools
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits.admission import Admission, Limits, duration
from proxy.limits.limiter import Limiter
from proxy.limits.local_window import LocalWindows
from proxy.limits.scripts import ADMIT, FINISH, window_keys
from proxy.limits.valkey import Client, Script, connect

key_ids = itertools.count(10_000_000)
NO_CEILING = Limits(10**6, 10**9, None)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (250, "250ms"), (1000, "1s"), (1500, "1.5s"), (60_000, "1m0s"), (360_000, "6m0s")],
)
def test_durations_are_written_as_openai_writes_them(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def admit(
    windows: LocalWindows,
    limits: Limits,
    *,
    at: int,
    tokens: int = 1,
    request: str = "",
    key: int = 1,
    ceiling: Limits = NO_CEILING,
    is_counted: bool = False,
) -> Admission:
    return windows.admit(
        key, request or f"r{at}-{len(windows.account.requests)}", tokens,
        limits=limits, ceiling=ceiling, is_counted=is_counted, now_ms=at,
    )  # fmt: skip


def test_no_double_burst_at_an_edge() -> None:
    window, limits = LocalWindows(), Limits(rpm=5, tpm=1000, concurrency=None)
    at = [0, 59_000, 59_001, 59_002, 59_003]
    assert all(admit(window, limits, at=moment).retry_after_ms == 0 for moment in at)
    assert admit(window, limits, at=59_999).retry_after_ms == 1
    assert admit(window, limits, at=60_000).retry_after_ms == 0  # the first one's minute is over
    assert admit(window, limits, at=60_001).retry_after_ms == 58_999  # the burst's is not


def test_retry_after_is_when_enough_tokens_have_left() -> None:
    window, limits = LocalWindows(), Limits(rpm=100, tpm=100, concurrency=None)
    for at, tokens in ((0, 30), (10_000, 30), (20_000, 30)):
        admit(window, limits, at=at, tokens=tokens)
    assert admit(window, limits, at=30_000, tokens=11).retry_after_ms == 30_000
    assert admit(window, limits, at=30_000, tokens=50).retry_after_ms == 40_000
    assert admit(window, limits, at=30_000, tokens=101).retry_after_ms == -1
    assert admit(window, limits, at=70_000, tokens=50).retry_after_ms == 0


def test_an_answer_that_took_longer_than_the_window_counts_when_it_ends() -> None:
    window, limits = LocalWindows(), Limits(rpm=100, tpm=1000, concurrency=None)
    admit(window, limits, at=0, tokens=10, request="long")
    admit(window, limits, at=90_000, tokens=10)
    window.finish(1, "long", 10, 900, now_ms=90_001)
    assert admit(window, limits, at=90_002, tokens=200).retry_after_ms == 59_999


def test_keys_together_stop_at_the_ceiling_of_their_account() -> None:
    windows, limits = LocalWindows(), Limits(rpm=2, tpm=150, concurrency=2)
    ceiling = Limits(rpm=3, tpm=150, concurrency=3)
    for key, at in ((1, 0), (1, 10), (2, 20)):
        assert admit(windows, limits, at=at, key=key, ceiling=ceiling).retry_after_ms == 0
    refused = admit(windows, limits, at=30, key=3, ceiling=ceiling)
    assert (refused.retry_after_ms, refused.requests) == (59_970, 0)  # its own windows are empty
    assert admit(windows, limits, at=60_000, key=3, tokens=149, ceiling=ceiling).retry_after_ms == 10
    assert admit(windows, limits, at=60_000, key=3, ceiling=ceiling).retry_after_ms == 1000  # three run
    windows.finish(1, "r0-0", 1, 1, now_ms=60_001)
    assert admit(windows, limits, at=60_001, key=3, ceiling=ceiling).retry_after_ms == 0


def test_a_request_that_was_counted_before_its_body_brings_its_tokens_or_counts_no_more() -> None:
    windows, limits = LocalWindows(), Limits(rpm=2, tpm=100, concurrency=1)
    first = admit(windows, limits, at=0, tokens=0, request="a")
    assert (first.retry_after_ms, first.requests, first.tokens) == (0, 1, 0)
    assert admit(windows, limits, at=1, request="b").retry_after_ms == 1000
    brought = admit(windows, limits, at=2, tokens=90, request="a", is_counted=True)
    assert (brought.retry_after_ms, brought.requests, brought.tokens) == (0, 1, 90)
    windows.finish(1, "a", 90, 95, now_ms=3)
    assert admit(windows, limits, at=4, tokens=0, request="c").retry_after_ms == 0
    refused = admit(windows, limits, at=5, tokens=6, request="c", is_counted=True)
    assert (refused.retry_after_ms, refused.requests, refused.tokens) == (59_997, 1, 95)
    assert admit(windows, limits, at=6, tokens=5, request="d").retry_after_ms == 0  # its places are free


BY_DAY = {"rpd": st.none(), "tpd": st.none()}  # see test_day
LIMITS = st.builds(Limits, st.integers(1, 6), st.integers(5, 60), st.sampled_from([None, 1, 2, 3]), **BY_DAY)
CEILINGS = st.builds(
    Limits, st.integers(1, 9), st.integers(5, 90), st.sampled_from([None, 1, 3, 4]), **BY_DAY
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 40)),
        st.tuples(st.just("announce"), st.integers(0, 40)),
        st.tuples(st.just("bring"), st.integers(0, 40)),
        st.tuples(st.just("finish"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.sampled_from([20_000, 45_000, 61_000])),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=100)
@given(limits=LIMITS, ceiling=CEILINGS, steps=STEPS)
def test_a_server_and_the_process_decide_alike(
    limits_url: str, limits: Limits, ceiling: Limits, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(compare(limits_url, limits, ceiling, steps))


async def compare(url: str, limits: Limits, ceiling: Limits, steps: list[tuple[str, int]]) -> None:
    """The server counts by a clock that the test sets, so both must agree to the millisecond."""
    client, windows, now_ms, user_id = connect(url), LocalWindows(), 1_000_000, next(key_ids)
    keys = [Clocked(client, user_id, key_id) for key_id in (1, 2)]
    running: list[tuple[int, str, int]] = []
    announced: list[tuple[int, str]] = []

    async def both(key: int, request: str, tokens: int, *, is_counted: bool = False) -> bool:
        own = admit(
            windows, limits, at=now_ms, tokens=tokens, request=request, key=key + 1, ceiling=ceiling,
            is_counted=is_counted,
        )  # fmt: skip
        shared = await keys[key].admit(
            request, limits, tokens, now_ms=now_ms, ceiling=ceiling, is_counted=is_counted
        )
        assert shared == own
        return own.retry_after_ms == 0

    try:
        for number, (what, amount) in enumerate(steps):
            now_ms += 1
            key, request = number % 2, f"r{number}"
            if what == "admit":
                if await both(key, request, amount):
                    running.append((key, request, amount))
            elif what == "announce":
                if await both(key, request, 0):
                    announced.append((key, request))
            elif what == "bring" and announced:
                key, request = announced.pop(0)
                if await both(key, request, amount, is_counted=True):
                    running.append((key, request, amount))
            elif what == "finish" and running:
                key, request, estimate = running.pop(0)
                windows.finish(key + 1, request, estimate, amount, now_ms=now_ms)
                for _ in range(2):  # its reply was lost: told twice
                    await keys[key].finish(request, estimate, amount, now_ms=now_ms)
            elif what == "wait":
                now_ms += amount
    finally:
        await client.aclose()


class Clocked:
    """The scripts for one key, with the time of the test instead of the server's."""

    def __init__(self, client: Client, user_id: int, key_id: int = 1) -> None:
        self._client, self._keys = client, [*window_keys(user_id, key_id), *window_keys(user_id)]

    async def admit(
        self,
        request: str,
        limits: Limits,
        tokens: int,
        *,
        now_ms: int,
        ceiling: Limits = NO_CEILING,
        is_counted: bool = False,
    ) -> Admission:
        bounds = [
            number or 0 for each in (limits, ceiling) for number in (each.rpm, each.tpm, each.concurrency)
        ]
        return Admission(*await self._run(ADMIT, now_ms, request, tokens, 100_000, int(is_counted), *bounds))

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


@settings(max_examples=80)
@given(limits=LIMITS, steps=st.lists(st.tuples(st.integers(1, 40_000), st.integers(0, 40)), max_size=30))
def test_no_sixty_seconds_hold_more_than_the_limits(limits: Limits, steps: list[tuple[int, int]]) -> None:
    asyncio.run(look_at_every_minute(limits._replace(concurrency=None), steps))


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


@settings(max_examples=80)
@given(limits=LIMITS, steps=STEPS, tokens=st.integers(0, 40))
def test_retry_after_is_true_to_the_millisecond(
    limits: Limits, steps: list[tuple[str, int]], tokens: int
) -> None:
    asyncio.run(wait_as_told(limits._replace(concurrency=None), steps, tokens))


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
    limits = Limits(10, 1000, 2)
    await limiter.admit(
        user_id=key_id, key_id=key_id, request_id="r", limits=limits, ceiling=limits, tokens=5
    )
    for name in [*window_keys(key_id, key_id), *window_keys(key_id)]:
        assert 0 < await client.pttl(name) <= 660_000
    await client.aclose()


async def test_tokens_that_are_brought_twice_count_once() -> None:
    client, limits = connect(django_settings.REDIS_URL), Limits(rpm=2, tpm=100, concurrency=1)
    shared = Clocked(client, next(key_ids))
    await shared.admit("a", limits, 0, now_ms=1_000_000)
    for at in (1_000_001, 1_000_002):
        brought = await shared.admit("a", limits, 60, now_ms=at, is_counted=True)
        assert (brought.retry_after_ms, brought.requests, brought.tokens) == (0, 1, 60)
    await client.aclose()
