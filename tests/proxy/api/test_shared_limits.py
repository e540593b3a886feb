"""Limits over two web processes at once, exact wherever they are counted: Valkey, a Cluster, Redis."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from keys import lifecycle
from tests.fake_upstream import FakeUpstream, answer_whole
from tests.live import WebProcess, at_once, web_process
from tests.proxy.api.conftest import HELLO, MODEL, Caller, served_without_valkey

Pair = tuple[WebProcess, WebProcess]


@pytest.fixture(scope="module")
def pair(web: WebProcess, limits_url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Pair]:
    """Two processes; over Redis, whose script is the same, one is enough."""
    env = {"LIMITS_URL": limits_url, "METRICS_TOKEN": "scraper"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        one = stack.enter_context(web_process(env=env))
        if limits_url == settings.REDIS_URL:
            other = web
        elif "cluster" in limits_url:
            other = stack.enter_context(web_process(env=env))
        else:
            other = one
        before = served_without_valkey(one), served_without_valkey(other)
        yield one, other
        assert (served_without_valkey(one), served_without_valkey(other)) == before


def ask_all(pair: Pair, caller: Caller, count: int) -> list[httpx.Response]:
    """So many requests through both processes, many at a time."""
    return at_once(
        lambda http, number: ask(http, pair[number % 2]),
        range(count),
        threads=16,
        http=lambda: client(caller),
    )


def client(caller: Caller, key: str = "") -> httpx.Client:
    return httpx.Client(headers={"Authorization": f"Bearer {key or caller.key}"}, timeout=30)


def ask(http: httpx.Client, web: WebProcess) -> httpx.Response:
    return http.post(f"{web.url}/v1/chat/completions", json={"model": MODEL, "messages": HELLO})


def test_the_limit_of_requests(
    pair: Pair, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    answers = ask_all(pair, make_caller(rpm=20), 60)
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 40)
    assert len(upstream.requests) == 20
    left = sorted(
        int(answer.headers["x-ratelimit-remaining-requests"])
        for answer in answers
        if answer.status_code == 200
    )
    assert left == list(range(20))  # each was told its own place


def test_the_limit_of_tokens(pair: Pair, make_caller: Callable[..., Caller], upstream: FakeUpstream) -> None:
    probe = make_caller(tpm=1_000_000)
    with client(probe) as http:
        first = ask(http, pair[0])
    estimate = 1_000_000 - int(first.headers["x-ratelimit-remaining-tokens"])
    # What is used is what was thought, so it is all the same when a request ends.
    upstream.script = answer_whole(
        usage={"prompt_tokens": estimate, "completion_tokens": 0, "total_tokens": estimate}
    )
    answers = ask_all(pair, make_caller(rpm=10_000, tpm=12 * estimate + estimate // 2), 40)
    assert [answer.status_code for answer in answers].count(200) == 12


def test_the_limit_of_requests_at_once(
    pair: Pair, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    running: list[int] = [0, 0]  # now, and at most
    enough = threading.Event()
    answer = answer_whole()

    async def counted(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.05)
        running[0] -= 1
        await answer(request, writer)

    upstream.script = counted
    caller = make_caller(rpm=100_000, concurrency=3)

    def keep_asking(web: WebProcess) -> list[int]:
        statuses = []
        with client(caller) as http:
            while not enough.is_set():
                statuses.append(ask(http, web).status_code)
                if len(upstream.requests) >= 30:
                    enough.set()
        return statuses

    with ThreadPoolExecutor(8) as pool:
        asked = [status for answers in pool.map(keep_asking, pair * 4) for status in answers]
    assert set(asked) == {200, 429}
    assert running == [0, 3]


def test_fifty_keys_are_not_fifty_times_the_tier(
    pair: Pair, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    """Each of the keys stays below its own limit; together they stop at the account's, in both processes."""
    caller = make_caller(rpm=8, account_factor=3)
    keys = [
        caller.key,
        *(lifecycle.create(user_id=caller.wallet.pk, name=f"key {number}").secret for number in range(9)),
    ]

    def four_times(key: str) -> list[httpx.Response]:
        with client(caller, key) as http:
            return [ask(http, pair[number % 2]) for number in range(4)]

    with ThreadPoolExecutor(10) as pool:
        answers = [answer for answered in pool.map(four_times, keys) for answer in answered]
    assert [answer.status_code for answer in answers].count(200) == 24
    assert len(upstream.requests) == 24
    refused = [answer for answer in answers if answer.status_code != 200]
    for answer in refused:
        assert answer.json()["error"]["message"] == "Rate limit exceeded. Please retry after a minute."
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["x-ratelimit-limit-requests"] == "8"  # the headers are the key's own
        assert int(answer.headers["x-ratelimit-remaining-requests"]) >= 4
