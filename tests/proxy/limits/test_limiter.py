"""A limiter whose Valkey hangs, breaks or loses answers: served from the process, loudly, and back by itself."""

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from proxy.limits import limiter as limits_module
from proxy.limits import valkey as valkey_module
from proxy.limits.admission import Admission, Limits
from proxy.limits.limiter import WITHOUT_VALKEY, Limiter
from proxy.limits.scripts import window_keys
from proxy.limits.valkey import Client, connect
from tests.fault_proxy import FaultProxy
from tests.valkey_servers import Server

key_ids = itertools.count(30_000_000)
LIMITS = Limits(rpm=30, tpm=10_000, concurrency=10)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_module, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(limits_module, "VALKEY_RETRY_SECONDS", 0.5)


@pytest_asyncio.fixture
async def proxy(valkey: Server) -> AsyncIterator[FaultProxy]:
    made = FaultProxy(listen=valkey.folder / "faulty", server=valkey.folder / "socket")
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def client(proxy: FaultProxy, valkey: Server) -> AsyncIterator[Client]:
    made = connect(f"unix://{valkey.folder}/faulty")
    yield made
    await made.aclose()


@pytest.fixture
def limiter(client: Client) -> Limiter:
    return Limiter(client, running_seconds=600)


async def admit(limiter: Limiter, key_id: int, request: object) -> Admission:
    async with asyncio.timeout(10):
        return await limiter.admit(
            user_id=key_id,
            key_id=key_id,
            request_id=f"r{request}",
            limits=LIMITS,
            ceiling=LIMITS,
            tokens=5,
        )


async def finish(limiter: Limiter, key_id: int, request: object, tokens: int) -> None:
    async with asyncio.timeout(10):
        await limiter.finish(
            user_id=key_id, key_id=key_id, request_id=f"r{request}", estimate=5, tokens=tokens
        )


async def come_true(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.01)


def served_alone() -> float:
    value: float = WITHOUT_VALKEY._value.get()
    return value


FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "cut": FaultProxy.cut,
    "stalled": FaultProxy.stall,
    "closed by the server": FaultProxy.half_close,
    "answers lost": FaultProxy.lose_replies,
    "answers late": lambda proxy: proxy.delay(0.7),
    "nonsense": FaultProxy.talk_nonsense,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_request_of_a_fault_is_served_and_counted_once(
    fault: str, limiter: Limiter, proxy: FaultProxy, valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    key_id, before = next(key_ids), served_alone()
    await admit(limiter, key_id, "before")
    FAULTS[fault](proxy)
    answers = await asyncio.gather(*(admit(limiter, key_id, number) for number in range(8)))
    assert [answer.retry_after_ms for answer in answers] == [0] * 8
    for number in range(8):
        await finish(limiter, key_id, number, 7)
    proxy.heal()
    await come_true(lambda: time.monotonic() >= limiter._away_until)
    await admit(limiter, key_id, "after")
    assert limiter._away_until == 0.0
    alone = served_alone() - before
    assert ("valkey away: limits are kept per process" in caplog.text) == (alone > 0)
    assert ("valkey back: limits are shared again" in caplog.text) == (alone > 0)
    _requests, tokens, total, running = window_keys(key_id, key_id)

    def told() -> bool:
        with valkey.client() as direct:
            return bool(direct.zcard(running) == 2)

    await come_true(told)
    with valkey.client() as direct:
        entries = direct.zrange(tokens, 0, -1)
        assert isinstance(entries, list)
        assert int(direct.get(total) or 0) == sum(int(entry.rpartition(b":")[2]) for entry in entries)


async def test_an_end_whose_answer_was_lost_is_told_again_and_counts_once(
    limiter: Limiter, proxy: FaultProxy, valkey: Server
) -> None:
    key_id = next(key_ids)
    await admit(limiter, key_id, "taught")
    await finish(limiter, key_id, "taught", 0)  # from here on the server knows both scripts
    await admit(limiter, key_id, "a")
    proxy.lose_replies()
    await finish(limiter, key_id, "a", 50)
    _requests, tokens, total, running = window_keys(key_id, key_id)
    with valkey.client() as direct:
        # It was carried out, though its reply was lost.
        assert set(direct.zrange(tokens, 0, -1)) == {b"ra:50", b"rtaught:0"}
        proxy.heal()
        await come_true(lambda: time.monotonic() >= limiter._away_until)
        await admit(limiter, key_id, "b")
        await come_true(lambda: not limiter._unreported)
        await finish(limiter, key_id, "b", 5)
        assert set(direct.zrange(tokens, 0, -1)) == {b"ra:50", b"rb:5", b"rtaught:0"}
        assert (direct.get(total), direct.zcard(running)) == (b"55", 0)


async def test_while_valkey_hangs_one_request_at_a_time_waits_for_it(
    limiter: Limiter, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, asked, submit = next(key_ids), [], limiter._scripts.submit

    def counted(*call: Any) -> Any:
        asked.append(call)
        return submit(*call)

    monkeypatch.setattr(limiter._scripts, "submit", counted)
    valkey.signal(signal.SIGSTOP)
    await admit(limiter, key_id, "lost")
    await come_true(lambda: time.monotonic() >= limiter._away_until)
    answers = await asyncio.gather(*(admit(limiter, key_id, number) for number in range(8)))
    assert sorted(answer.requests for answer in answers) == list(range(2, 10))
    assert len(asked) == 2


async def test_a_caller_that_leaves_before_it_is_admitted_leaves_no_place_taken(
    limiter: Limiter, valkey: Server
) -> None:
    key_id = next(key_ids)
    await admit(limiter, key_id, "before")
    valkey.signal(signal.SIGSTOP)
    leaving = asyncio.create_task(admit(limiter, key_id, "leaving"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    valkey.signal(signal.SIGCONT)
    _requests, tokens, total, running = window_keys(key_id, key_id)
    await finish(limiter, key_id, "before", 5)  # in order, so what came before it has been carried out
    with valkey.client() as direct:
        assert (direct.zcard(running), direct.get(total)) == (0, b"5")
        assert set(direct.zrange(tokens, 0, -1)) == {b"rbefore:5", b"rleaving:0"}


async def test_what_the_process_counted_is_forgotten_when_its_minute_is_over(
    limiter: Limiter, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "VALKEY_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(limits_module, "WINDOW_MS", 0)
    key_id = next(key_ids)
    await admit(limiter, key_id, "before")
    proxy.cut()
    await admit(limiter, key_id, "alone")
    assert limiter._local
    for request in ("back", "later"):
        await admit(limiter, key_id, request)
    assert not limiter._local
