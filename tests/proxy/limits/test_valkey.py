"""The queue of scripts: in order, in batches, each reply to its own caller, and a fault for all who wait."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from proxy.limits import valkey as valkey_module
from proxy.limits.valkey import MAX_BATCH, Client, Script, ScriptQueue, Unavailable, connect
from tests.valkey_servers import Server

ECHO = Script("return ARGV[1]")
APPEND = Script("redis.call('RPUSH', KEYS[1], ARGV[1]); return redis.call('LLEN', KEYS[1])")
BROKEN = Script("return redis.call('GET')")


@pytest_asyncio.fixture
async def client(valkey: Server) -> AsyncIterator[Client]:
    made = connect(valkey.url)
    yield made
    await made.aclose()


@pytest.fixture
def queue(client: Client) -> ScriptQueue:
    return ScriptQueue(client)


@pytest.fixture
def batches(queue: ScriptQueue, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the pipelines that leave."""
    sizes: list[int] = []
    pipeline = queue._pipeline

    async def counted(commands: list[tuple[Any, ...]], by: float) -> list[Any]:
        sizes.append(len(commands))
        return await pipeline(commands, by)

    monkeypatch.setattr(queue, "_pipeline", counted)
    return sizes


async def test_scripts_run_in_the_order_in_which_they_were_submitted(
    queue: ScriptQueue, client: Client
) -> None:
    replies = await asyncio.gather(*(queue.submit(APPEND, ["order"], [number]) for number in range(600)))
    assert replies == list(range(1, 601))
    assert await client.execute_command("LRANGE", "order", 0, -1) == [b"%d" % number for number in range(600)]


async def test_what_comes_while_a_pipeline_is_under_way_goes_with_the_next(
    queue: ScriptQueue, batches: list[int]
) -> None:
    await queue.submit(ECHO, [], ["taught"])
    batches.clear()
    first = queue.submit(ECHO, [], [0])
    while not batches:  # noqa: ASYNC110 - until it has left
        await asyncio.sleep(0)
    rest = [queue.submit(ECHO, [], [number]) for number in range(1, MAX_BATCH + 10)]
    assert await asyncio.gather(first, *rest) == [b"%d" % number for number in range(MAX_BATCH + 10)]
    assert batches == [1, MAX_BATCH, 9]


async def test_each_reply_goes_to_its_own_caller(queue: ScriptQueue) -> None:
    async def ask(number: int) -> None:
        for turn in range(10):
            assert await queue.submit(ECHO, [], [f"{number}-{turn}"]) == f"{number}-{turn}".encode()

    await asyncio.gather(*(ask(number) for number in range(40)))


async def test_a_script_that_fails_fails_alone(queue: ScriptQueue) -> None:
    good, bad, other = (queue.submit(script, [], [1]) for script in (ECHO, BROKEN, ECHO))
    with pytest.raises(Unavailable, match="Wrong number of args"):
        await bad
    assert (await good, await other) == (b"1", b"1")


async def test_a_caller_that_leaves_disturbs_nobody(queue: ScriptQueue) -> None:
    await queue.submit(ECHO, [], ["taught"])
    calls = [queue.submit(ECHO, [], [number]) for number in range(20)]
    for number in (0, 7, 19):
        calls[number].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [call.result() for call in calls if not call.cancelled()] == [
        b"%d" % number for number in range(20) if number not in (0, 7, 19)
    ]


async def test_a_script_that_the_server_has_forgotten_is_taught_again(
    queue: ScriptQueue, client: Client, batches: list[int]
) -> None:
    await queue.submit(APPEND, ["l"], ["a"])
    await client.execute_command("SCRIPT FLUSH")
    await queue.submit(ECHO, [], ["known"])
    batches.clear()
    replies = await asyncio.gather(
        queue.submit(ECHO, [], [1]), queue.submit(APPEND, ["l"], ["b"]), queue.submit(ECHO, [], [2])
    )
    assert list(replies) == [b"1", 2, b"2"]  # and ran once
    assert batches == [3, 1]


async def test_a_server_that_is_away_fails_those_who_came_meanwhile_too(
    queue: ScriptQueue, valkey: Server, batches: list[int]
) -> None:
    await queue.submit(ECHO, [], [0])
    batches.clear()
    valkey.kill()
    async with asyncio.timeout(10):
        calls = [queue.submit(ECHO, [], [number]) for number in range(MAX_BATCH + 5)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(failure) for failure in failures} == {Unavailable}
    assert batches == [MAX_BATCH]
    (valkey.folder / "socket").unlink()
    valkey.start()
    assert await queue.submit(ECHO, [], ["again"]) == b"again"


async def test_no_late_reply_reaches_another_caller(
    queue: ScriptQueue, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands still until the callers have given up, and answers them after all."""
    await asyncio.gather(*(queue.submit(ECHO, [], ["first"]) for _ in range(3)))
    monkeypatch.setattr(valkey_module, "TIMEOUT_SECONDS", 0.2)
    valkey.signal(signal.SIGSTOP)
    late = await asyncio.gather(
        *(queue.submit(ECHO, [], [f"late {number}"]) for number in range(5)), return_exceptions=True
    )
    valkey.signal(signal.SIGCONT)
    monkeypatch.undo()
    assert {type(failure) for failure in late} == {Unavailable}
    replies = await asyncio.gather(*(queue.submit(ECHO, [], [f"new {number}"]) for number in range(5)))
    assert replies == [f"new {number}".encode() for number in range(5)]


async def test_an_exception_that_nobody_foresaw_reaches_every_caller(
    queue: ScriptQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Cluster's client raises some that are no RedisError; a caller must not wait for ever."""

    async def fail(_commands: list[tuple[Any, ...]], _by: float) -> list[Any]:
        raise LookupError("no such node")

    monkeypatch.setattr(queue, "_pipeline", fail)
    async with asyncio.timeout(5):
        failures = await asyncio.gather(
            *(queue.submit(ECHO, [], [number]) for number in range(3)), return_exceptions=True
        )
    assert [str(failure) for failure in failures] == ["no such node"] * 3
    monkeypatch.undo()
    assert await queue.submit(ECHO, [], [1]) == b"1"
