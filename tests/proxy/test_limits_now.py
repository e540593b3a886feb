"""How full a key's windows are is told as the limiter sees it, and asking changes nothing."""

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis
from django.conf import settings

from proxy import limits_now
from proxy.limits import Limiter, Limits, window_keys
from proxy.limits_now import Window
from proxy.valkey import connect
from tests.valkey_servers import Cluster

KEYS = count(9_100_000)


@pytest.fixture
def key_id() -> int:
    return next(KEYS)


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.LIMITS_URL) as client:
        yield client


async def test_it_tells_what_the_limiter_has_admitted(key_id: int) -> None:
    client = connect(settings.LIMITS_URL)
    limiter = Limiter(client, running_seconds=60)
    limits = Limits(rpm=10, tpm=1_000, concurrency=5)
    await limiter.admit(key_id=key_id, request_id="a", limits=limits, tokens=100)
    await limiter.admit(key_id=key_id, request_id="b", limits=limits, tokens=50)
    assert limits_now.read([key_id]) == {key_id: Window(requests=2, tokens=150, running=2)}
    await limiter.finish(key_id=key_id, request_id="a", estimate=100, tokens=30)
    assert limits_now.read([key_id]) == {key_id: Window(requests=2, tokens=80, running=1)}
    await client.aclose()


def test_what_has_left_the_window_does_not_count_although_nobody_has_tidied_up(
    key_id: int, server: redis.Redis
) -> None:
    requests, tokens, token_sum, running = window_keys(key_id)
    now_ms = int(time.time() * 1000)
    server.zadd(requests, {"old": now_ms - 61_000, "new": now_ms - 1_000})
    server.zadd(tokens, {"old:70": now_ms - 61_000, "new:30": now_ms - 1_000})
    server.set(token_sum, 100)
    server.zadd(running, {"lost": now_ms - 1_000, "new": now_ms + 60_000})
    assert limits_now.read([key_id]) == {key_id: Window(requests=1, tokens=30, running=1)}
    assert server.zcard(requests) == server.zcard(tokens) == server.zcard(running) == 2
    assert server.get(token_sum) == b"100"


def test_keys_that_did_nothing_are_empty_and_many_are_read_at_once() -> None:
    keys = [next(KEYS) for _ in range(30)]
    assert limits_now.read(keys) == dict.fromkeys(keys, Window(0, 0, 0))
    assert limits_now.read([]) == {}


@pytest.mark.xdist_group("cluster")
async def test_keys_of_all_nodes_of_a_cluster_are_read(cluster: Cluster, settings: Any) -> None:
    settings.LIMITS_URL = cluster.url
    client = connect(cluster.url)
    limiter = Limiter(client, running_seconds=60)
    keys = [next(KEYS) for _ in range(12)]
    assert len({cluster.home(window_keys(key_id)[0]).url for key_id in keys}) > 1
    for key_id in keys:
        limits = Limits(rpm=10, tpm=10**9, concurrency=5)
        await limiter.admit(key_id=key_id, request_id="a", limits=limits, tokens=key_id)
    await client.aclose()
    assert limits_now.read(keys) == {key_id: Window(1, key_id, 1) for key_id in keys}


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1"])
def test_without_valkey_it_says_that_it_does_not_know(key_id: int, settings: Any, url: str) -> None:
    settings.LIMITS_URL = url
    with pytest.raises(limits_now.LimitsUnknown):
        limits_now.read([key_id])
