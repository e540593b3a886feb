"""Reads of the account have a limit of their own, and where a key stands can be read without counting anything."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from proxy.limits import valkey as valkey_module
from proxy.limits.admission import Limits, Window
from proxy.limits.limiter import Limiter
from proxy.limits.reads import PER_MINUTE, Reads
from proxy.limits.valkey import connect
from tests.valkey_servers import Server

key_ids = itertools.count(40_000_000)
LIMITS = Limits(rpm=30, tpm=10_000, concurrency=10)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no server that is away."""
    monkeypatch.setattr(valkey_module, "TIMEOUT_SECONDS", 20.0)


@pytest_asyncio.fixture
async def limiter(limits_url: str) -> AsyncIterator[Limiter]:
    client = connect(limits_url)
    yield Limiter(client, running_seconds=600)
    await client.aclose()


async def wait_seconds(reads: Reads, key_id: int, request: object) -> float:
    return await reads.wait_seconds(user_id=key_id, key_id=key_id, request_id=f"r{request}")


async def admit(limiter: Limiter, key_id: int, request: str) -> None:
    admission = await limiter.admit(
        user_id=key_id, key_id=key_id, request_id=request, limits=LIMITS, ceiling=LIMITS, tokens=5
    )
    assert admission.retry_after_ms == 0


async def test_so_many_reads_pass_and_the_next_is_told_how_long_to_wait(limiter: Limiter) -> None:
    one, other, key_id = Reads(limiter), Reads(limiter), next(key_ids)
    waits = await asyncio.gather(
        *(wait_seconds((one, other)[n % 2], key_id, n) for n in range(PER_MINUTE + 5))
    )
    assert sorted(waits)[:PER_MINUTE] == [0.0] * PER_MINUTE
    assert all(0 < wait <= 60 for wait in sorted(waits)[PER_MINUTE:])
    assert await wait_seconds(one, next(key_ids), "of another key") == 0
    assert await limiter.standing(user_id=key_id, key_id=key_id) == (Window(0, 0, 0), Window(0, 0, 0))


async def test_a_read_that_is_asked_twice_counts_once(limiter: Limiter) -> None:
    reads, key_id = Reads(limiter), next(key_ids)
    for number in range(PER_MINUTE):
        assert await wait_seconds(reads, key_id, number) == 0
    assert await wait_seconds(reads, key_id, 7) == 0
    assert await wait_seconds(reads, key_id, "new") > 0


async def test_where_a_key_stands_is_read_and_not_counted(limiter: Limiter) -> None:
    key_id = next(key_ids)
    await admit(limiter, key_id, "one")
    await admit(limiter, key_id, "two")
    await limiter.finish(user_id=key_id, key_id=key_id, request_id="one", estimate=5, tokens=70)
    for _ in range(3):
        assert await limiter.standing(user_id=key_id, key_id=key_id) == (Window(2, 75, 1), Window(2, 75, 1))
    assert await limiter.standing(user_id=key_id, key_id=next(key_ids)) == (
        Window(0, 0, 0),
        Window(2, 75, 1),
    )


async def test_without_valkey_the_process_counts_alone(valkey: Server) -> None:
    client = connect(valkey.url)
    limiter, key_id = Limiter(client, running_seconds=600), next(key_ids)
    reads = Reads(limiter)
    assert await wait_seconds(reads, key_id, "shared") == 0
    valkey.kill()
    for number in range(PER_MINUTE):
        assert await wait_seconds(reads, key_id, number) == 0
    assert 0 < await wait_seconds(reads, key_id, "one more") <= 60
    assert await limiter.standing(user_id=key_id, key_id=key_id) == (Window(0, 0, 0), Window(0, 0, 0))
    await admit(limiter, key_id, "one")
    assert await limiter.standing(user_id=key_id, key_id=key_id) == (Window(1, 5, 1), Window(1, 5, 1))
    await client.aclose()
