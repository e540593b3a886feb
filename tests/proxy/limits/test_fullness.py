"""How full the windows are is told as the limiter sees it, and asking changes nothing."""

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis
from django.conf import settings

from proxy.limits import fullness
from proxy.limits.admission import Limits, Window
from proxy.limits.fullness import Windows
from proxy.limits.limiter import Limiter
from proxy.limits.scripts import window_keys
from proxy.limits.valkey import connect
from tests.valkey_servers import Cluster

USERS = count(9_100_000)


@pytest.fixture
def user_id() -> int:
    return next(USERS)


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.LIMITS_URL) as client:
        yield client


async def test_it_tells_what_the_limiter_has_admitted(user_id: int) -> None:
    client = connect(settings.LIMITS_URL)
    limiter = Limiter(client, running_seconds=60)
    limits = Limits(rpm=10, tpm=1_000, concurrency=5)
    for key_id, request, tokens in ((1, "a", 100), (1, "b", 50), (2, "c", 5)):
        await limiter.admit(
            user_id=user_id, key_id=key_id, request_id=request, tokens=tokens, limits=limits, ceiling=limits
        )
    assert fullness.read(user_id=user_id, key_ids=[1, 2, 3]) == Windows(
        Window(requests=3, tokens=155, running=3),
        {1: Window(2, 150, 2), 2: Window(1, 5, 1), 3: Window(0, 0, 0)},
    )
    await limiter.finish(user_id=user_id, key_id=1, request_id="a", estimate=100, tokens=30)
    assert fullness.read(user_id=user_id, key_ids=[1]) == Windows(Window(3, 85, 2), {1: Window(2, 80, 1)})
    await client.aclose()


def test_what_has_left_the_window_does_not_count_although_nobody_has_tidied_up(
    user_id: int, server: redis.Redis
) -> None:
    requests, tokens, token_sum, running = window_keys(user_id, 1)
    now_ms = int(time.time() * 1000)
    server.zadd(requests, {"old": now_ms - 61_000, "new": now_ms - 1_000})
    server.zadd(tokens, {"old:70": now_ms - 61_000, "new:30": now_ms - 1_000})
    server.set(token_sum, 100)
    server.zadd(running, {"lost": now_ms - 1_000, "new": now_ms + 60_000})
    assert fullness.read(user_id=user_id, key_ids=[1]).keys == {1: Window(1, 30, 1)}
    assert server.zcard(requests) == server.zcard(tokens) == server.zcard(running) == 2
    assert server.get(token_sum) == b"100"


def test_an_account_that_did_nothing_is_empty_and_many_keys_are_read_at_once(user_id: int) -> None:
    nothing = Window(0, 0, 0)
    keys = list(range(300))
    assert fullness.read(user_id=user_id, key_ids=keys) == Windows(nothing, dict.fromkeys(keys, nothing))


@pytest.mark.slow
async def test_accounts_of_all_nodes_of_a_cluster_are_read(cluster: Cluster, settings: Any) -> None:
    settings.LIMITS_URL = cluster.url
    client = connect(cluster.url)
    limiter = Limiter(client, running_seconds=60)
    users = [next(USERS) for _ in range(12)]
    assert len({cluster.home(window_keys(user)[0]).url for user in users}) > 1
    limits = Limits(rpm=10, tpm=10**9, concurrency=5)
    for user in users:
        await limiter.admit(
            user_id=user, key_id=1, request_id="a", tokens=user, limits=limits, ceiling=limits
        )
    await client.aclose()
    for user in users:
        used = Window(1, user, 1)
        assert fullness.read(user_id=user, key_ids=[1]) == Windows(used, {1: used})


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1"])
def test_without_valkey_it_says_that_it_does_not_know(user_id: int, settings: Any, url: str) -> None:
    settings.LIMITS_URL = url
    with pytest.raises(fullness.LimitsUnknown):
        fullness.read(user_id=user_id, key_ids=[1])
