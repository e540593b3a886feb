"""Limits over a Valkey Cluster of three nodes: slots that move, nodes that die, scripts that are forgotten."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio.cluster import RedisCluster

from proxy.limits import limiter as limits_module
from proxy.limits import valkey
from proxy.limits.admission import Admission, Limits
from proxy.limits.limiter import WITHOUT_VALKEY, Limiter
from proxy.limits.scripts import window_keys
from proxy.limits.valkey import Script, ScriptQueue, Unavailable, connect
from tests.valkey_servers import Cluster, Node

pytestmark = pytest.mark.slow
key_ids = itertools.count(20_000_000)
ECHO = Script("return ARGV[1]")
PLENTY = Limits(rpm=10_000, tpm=10_000_000, concurrency=None)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no fault of a node's."""
    monkeypatch.setattr(valkey, "TIMEOUT_SECONDS", 5.0)


@pytest_asyncio.fixture
async def client(cluster: Cluster) -> AsyncIterator[RedisCluster]:
    made = connect(cluster.url)
    assert isinstance(made, RedisCluster)
    yield made
    await made.aclose()


@pytest.fixture
def limiter(client: RedisCluster) -> Limiter:
    return Limiter(client, running_seconds=600)


def key_on(cluster: Cluster, node: Node) -> int:
    return next(key_id for key_id in key_ids if cluster.home(window_keys(key_id, key_id)[0]) is node)


async def admit(limiter: Limiter, key_id: int, request: object, limits: Limits = PLENTY) -> Admission:
    return await limiter.admit(
        user_id=key_id, key_id=key_id, request_id=f"r{request}", limits=limits, ceiling=PLENTY, tokens=3
    )


def served_alone() -> float:
    value: float = WITHOUT_VALKEY._value.get()
    return value


async def come_true(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.02)


async def test_all_of_an_account_lies_in_one_slot_and_accounts_spread(
    cluster: Cluster, client: RedisCluster
) -> None:
    homes = set()
    for key_id in itertools.islice(key_ids, 30):
        names = [*window_keys(key_id, 1), *window_keys(key_id, 2), *window_keys(key_id)]
        assert len({client.keyslot(name) for name in names}) == 1
        homes.add(cluster.home(window_keys(key_id, key_id)[0]).port)
    assert len(homes) == 3


async def test_a_pipeline_for_keys_of_all_nodes_gives_each_its_own_answer(limiter: Limiter) -> None:
    keys = list(itertools.islice(key_ids, 30))
    before = served_alone()
    for turn in range(1, 4):
        answers = await asyncio.gather(*(admit(limiter, key_id, turn) for key_id in keys))
        assert [answer.requests for answer in answers] == [turn] * 30
    assert served_alone() == before


async def test_forgotten_scripts_are_taught_again(cluster: Cluster, limiter: Limiter) -> None:
    key_id, before = next(key_ids), served_alone()
    for turn in range(1, 4):
        assert (await admit(limiter, key_id, turn)).requests == turn
        for node in cluster.nodes:
            node.ask("SCRIPT", "FLUSH")
    assert served_alone() == before


async def test_a_slot_that_moves_while_it_is_in_use_is_followed(cluster: Cluster, limiter: Limiter) -> None:
    key_id = next(key_ids)
    name = window_keys(key_id, key_id)[0]
    source = cluster.home(name)
    target = next(node for node in cluster.nodes if node is not source)
    limits, before = Limits(rpm=100, tpm=10_000, concurrency=None), served_alone()
    numbers = itertools.count()
    admitted = 0
    for start, end in ((source, target), (target, source)):
        await admit(limiter, key_id, "first", limits)
        moving = asyncio.create_task(
            asyncio.to_thread(cluster.move, cluster.slot(name), source=start, target=end)
        )
        while not moving.done():
            answers = await asyncio.gather(*(admit(limiter, key_id, next(numbers), limits) for _ in range(5)))
            admitted += sum(answer.retry_after_ms == 0 for answer in answers)
        await moving
        assert cluster.home(name) is end
    rest = await asyncio.gather(*(admit(limiter, key_id, next(numbers), limits) for _ in range(110)))
    admitted += sum(answer.retry_after_ms == 0 for answer in rest)
    assert admitted == 99  # and "first", which was admitted once
    assert served_alone() == before


async def test_a_node_that_dies_and_comes_back(
    cluster: Cluster, limiter: Limiter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "VALKEY_RETRY_SECONDS", 0.05)
    node = cluster.nodes[1]
    key_id, before = key_on(cluster, node), served_alone()
    await admit(limiter, key_id, "before")
    node.kill()
    try:
        async with asyncio.timeout(10):
            assert (await admit(limiter, key_id, "without")).requests == 1  # of this process alone
        assert served_alone() == before + 1
        assert "valkey away: limits are kept per process" in caplog.text
        await limiter.finish(user_id=key_id, key_id=key_id, request_id="rwithout", estimate=3, tokens=40)
    finally:
        node.start()

    async def shared_again() -> bool:
        alone = served_alone()
        await admit(limiter, key_id, "after")
        return served_alone() == alone

    await come_true(shared_again)
    assert "valkey back: limits are shared again" in caplog.text
    await come_true(lambda: asyncio.to_thread(cluster.is_well))


async def test_what_another_node_did_in_a_failed_pipeline_is_not_counted_twice(
    cluster: Cluster, client: RedisCluster, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node refuses its connection while another still works on its part; then all of it is sent once more."""
    dying, slow = cluster.nodes[1], cluster.nodes[2]
    lost, kept = key_on(cluster, dying), key_on(cluster, slow)
    await admit(limiter, kept, "before")
    close = client.aclose

    async def close_and_wake() -> None:
        await close()
        slow.signal(signal.SIGCONT)

    monkeypatch.setattr(client, "aclose", close_and_wake)
    dying.kill()
    slow.signal(signal.SIGSTOP)
    try:
        await asyncio.gather(admit(limiter, lost, 0), *(admit(limiter, kept, number) for number in range(3)))
        requests, tokens, total, _running = window_keys(kept, kept)
        assert (slow.ask("ZCARD", requests), slow.ask("ZCARD", tokens)) == (4, 4)
        assert int(slow.ask("GET", total)) == 4 * 3
    finally:
        slow.signal(signal.SIGCONT)
        dying.start()
        await come_true(lambda: asyncio.to_thread(cluster.is_well))


async def test_keys_of_a_node_that_is_gone_get_no_new_window_whenever_another_answers(
    cluster: Cluster, limiter: Limiter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits_module, "VALKEY_RETRY_SECONDS", 0.0)
    dying, living = cluster.nodes[1], cluster.nodes[2]
    for node in cluster.nodes:
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    lost, kept = key_on(cluster, dying), key_on(cluster, living)
    limits = Limits(rpm=3, tpm=10_000, concurrency=None)
    await admit(limiter, kept, "before")
    dying.kill()
    try:
        answers = []
        for turn in range(8):
            answers.append((await admit(limiter, lost, turn, limits)).retry_after_ms == 0)
            await admit(limiter, kept, turn)
        assert caplog.text.count("valkey back") > 3
        assert answers.count(True) == 3
    finally:
        dying.start()
        for node in cluster.nodes:
            node.ask("CONFIG", "SET", "cluster-require-full-coverage", "yes")
        await come_true(lambda: asyncio.to_thread(cluster.is_well))


async def test_no_late_reply_of_a_node_reaches_another_caller(
    cluster: Cluster, client: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes stand still until the callers have given up, and answer them after all."""
    queue = ScriptQueue(client)
    keys = [f"{{{number}}}" for number in range(12)]
    await asyncio.gather(*(queue.submit(ECHO, [key], ["first"]) for key in keys))
    monkeypatch.setattr(valkey, "TIMEOUT_SECONDS", 0.3)
    for node in cluster.nodes:
        node.signal(signal.SIGSTOP)
    late = await asyncio.gather(
        *(queue.submit(ECHO, [key], [f"late {key}"]) for key in keys), return_exceptions=True
    )
    for node in cluster.nodes:
        node.signal(signal.SIGCONT)
    monkeypatch.setattr(valkey, "TIMEOUT_SECONDS", 5.0)
    assert {type(failure) for failure in late} == {Unavailable}
    await come_true(lambda: asyncio.to_thread(cluster.is_well))
    replies = await asyncio.gather(*(queue.submit(ECHO, [key], [f"new {key}"]) for key in keys))
    assert replies == [f"new {key}".encode() for key in keys]


async def test_a_cluster_that_nobody_reaches_leaves_no_request_waiting(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.kill()
    client = connect(cluster.url)
    limiter, before = Limiter(client, running_seconds=600), served_alone()
    try:
        async with asyncio.timeout(10):
            answers = await asyncio.gather(
                *(admit(limiter, key_id, 0) for key_id in itertools.islice(key_ids, 5))
            )
        assert [answer.requests for answer in answers] == [1] * 5
        assert served_alone() == before + 5
    finally:
        for node in cluster.nodes:
            node.start()
        await client.aclose()
        await come_true(lambda: asyncio.to_thread(cluster.is_well))
