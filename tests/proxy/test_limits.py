"""The rule of the limits: Valkey's script and the process's own window decide alike, in whatever order."""

import asyncio
import itertools

import pytest
import redis.asyncio
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits import Admission, Limiter, Limits, LocalWindow, duration

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


@settings(max_examples=60, deadline=None)
@given(limits=LIMITS, steps=STEPS)
def test_valkey_and_the_process_decide_alike(limits: Limits, steps: list[tuple[str, int]]) -> None:
    asyncio.run(compare(limits, steps))


async def compare(limits: Limits, steps: list[tuple[str, int]]) -> None:
    client = redis.asyncio.Redis.from_url(django_settings.REDIS_URL)
    limiter, key_id, window, now_ms = Limiter(client, running_seconds=600), next(key_ids), LocalWindow(), 0
    running: list[tuple[str, int]] = []
    try:
        for number, (what, amount) in enumerate(steps):
            now_ms += 1
            if what == "admit":
                shared = await limiter.admit(
                    key_id=key_id, request_id=f"r{number}", limits=limits, tokens=amount
                )
                own = window.admit(f"r{number}", limits, amount, now_ms=now_ms)
                assert (shared.requests, shared.tokens) == (own.requests, own.tokens)
                # The two clocks differ by what the test itself takes.
                assert (shared.retry_after_ms > 0) == (own.retry_after_ms > 0)
                assert abs(shared.retry_after_ms - own.retry_after_ms) < 5_000
                if own.retry_after_ms == 0:
                    running.append((f"r{number}", amount))
            elif what == "finish" and running:
                request, estimate = running.pop(0)
                await limiter.finish(key_id=key_id, request_id=request, estimate=estimate, tokens=amount)
                window.finish(request, estimate, amount, now_ms=now_ms)
            elif what == "wait":
                await age(client, key_id, amount)
                now_ms += amount
    finally:
        await client.aclose()


async def age(client: redis.asyncio.Redis, key_id: int, milliseconds: int) -> None:
    """Lets time pass for one key: what is in its logs gets that much older."""
    for log in ("requests", "tokens"):
        name = f"hamiran:{{{key_id}}}:{log}"
        for member in await client.zrange(name, 0, -1):
            assert isinstance(member, bytes)
            await client.zincrby(name, -milliseconds, member)


async def test_what_a_key_leaves_in_valkey_goes_away_by_itself() -> None:
    client = redis.asyncio.Redis.from_url(django_settings.REDIS_URL)
    key_id = next(key_ids)
    limiter = Limiter(client, running_seconds=600)
    limits = Limits(10, 1000, 2)
    await limiter.admit(key_id=key_id, request_id="r", limits=limits, tokens=5)
    names = await client.keys(f"hamiran:{{{key_id}}}:*")
    assert len(names) == 4
    for name in names:
        assert 0 < await client.pttl(name) <= 600_000
    await client.aclose()
