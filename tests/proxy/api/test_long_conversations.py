"""A conversation of 100 kB over a real web process: what each of its turns holds."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from tests import valkey_servers
from tests.fake_upstream import STREAM, FakeUpstream, chunk, stream_events
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import INPUT_PRICE, OUTPUT_PRICE, Caller, add_model, served_without_valkey
from tests.valkey_servers import Server
from wallet.ledger.models import Hold

TALK, OTHER_TALK, FALSE_TALK = "talk", "other talk", "false talk"
FIRST: list[dict[str, Any]] = [{"role": "user", "content": "one two " * 12_500}]
SECOND = [*FIRST, {"role": "assistant", "content": "three"}, {"role": "user", "content": "four " * 100}]
CAP = 10
PLAIN = 100_000  # a token per byte


@pytest.fixture(scope="module")
def valkey_alone() -> Iterator[Server]:
    with valkey_servers.server() as one:
        yield one


@pytest.fixture(scope="module")
def talking(
    web: WebProcess, upstream: FakeUpstream, valkey_alone: Server, django_db_blocker: DjangoDbBlocker
) -> Iterator[WebProcess]:
    """A web process with a Valkey of its own."""
    with django_db_blocker.unblock():
        for name in (TALK, OTHER_TALK, FALSE_TALK):
            add_model(name, upstream.url, context_tokens=1_000_000)
        with web_process(env={"REDIS_URL": valkey_alone.url, "METRICS_TOKEN": "scraper"}) as process:
            yield process


@pytest.fixture
def talker(make_caller: Any, talking: WebProcess) -> Caller:
    caller: Caller = make_caller()
    caller.web = talking
    return caller


def true_tokens(messages: list[dict[str, Any]]) -> int:
    return len(json.dumps(messages)) // 4


def held_for(
    caller: Caller, upstream: FakeUpstream, messages: list[dict[str, Any]], *, times: int = 1, **fields: Any
) -> int:
    """What a turn holds for its prompt, in tokens. Upstream reports the true tokens so many times."""
    prompt, looked = true_tokens(messages) * times, threading.Event()
    usage = {"prompt_tokens": prompt, "completion_tokens": 2, "total_tokens": prompt + 2}

    first, *rest = STREAM[1:4]
    upstream.script = stream_events(first, looked, *rest, chunk(None, usage=usage), STREAM[-1])
    body = {"model": TALK, "messages": messages, "stream": True, "max_tokens": CAP, **fields}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        try:
            assert response.status_code == 200
            parts = response.iter_raw()
            next(parts)
            held = Hold.objects.get(wallet=caller.wallet).amount_micro
        finally:
            looked.set()
        assert b"".join(parts).endswith(b"data: [DONE]\n\n")
    return (held - CAP * OUTPUT_PRICE) // INPUT_PRICE


def exceeded(web: WebProcess) -> bool:
    answer = httpx.get(f"{web.url}/metrics", headers={"Authorization": "Bearer scraper"}, timeout=30)
    return f'hamiran_declarations_exceeded_total{{figure="known_prefix",model="{FALSE_TALK}"}}' in answer.text


def test_the_second_turn_holds_near_its_cost(talker: Caller, upstream: FakeUpstream) -> None:
    assert held_for(talker, upstream, FIRST) > PLAIN
    second = held_for(talker, upstream, SECOND)
    assert true_tokens(SECOND) < second < 1.1 * true_tokens(SECOND)
    assert held_for(talker, upstream, [*SECOND, *SECOND[1:]]) < 1.2 * true_tokens(SECOND)


@pytest.mark.parametrize(
    "change",
    [{"model": OTHER_TALK}, {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"seed": 1}],
    ids=["another model", "other tools", "another field"],
)
def test_what_is_asked_otherwise_is_held_as_ever(talker: Caller, upstream: FakeUpstream, change: Any) -> None:
    held_for(talker, upstream, FIRST)
    assert held_for(talker, upstream, SECOND, **change) > PLAIN
    assert held_for(talker, upstream, SECOND) < 1.1 * true_tokens(SECOND)


def test_another_account_knows_nothing(
    talker: Caller, make_caller: Any, talking: WebProcess, upstream: FakeUpstream
) -> None:
    held_for(talker, upstream, FIRST)
    other = make_caller()
    other.web = talking
    assert held_for(other, upstream, SECOND) > PLAIN


def test_losing_valkey_costs_precision_alone(
    talker: Caller, talking: WebProcess, valkey_alone: Server, upstream: FakeUpstream
) -> None:
    held_for(talker, upstream, FIRST)
    valkey_alone.kill()
    assert held_for(talker, upstream, SECOND) > PLAIN
    assert held_for(talker, upstream, SECOND) > PLAIN
    assert served_without_valkey(talking) >= 1
    valkey_alone.start()
    eventually(lambda: held_for(talker, upstream, SECOND) < 1.1 * true_tokens(SECOND))


def test_an_upstream_that_counts_beyond_the_bound_is_paid_by_nobody_and_bounds_nothing_any_more(
    talker: Caller, talking: WebProcess, upstream: FakeUpstream
) -> None:
    held_for(talker, upstream, FIRST, model=FALSE_TALK)
    assert not exceeded(talking)
    before = talker.balance()[0]
    held = held_for(talker, upstream, SECOND, times=2, model=FALSE_TALK)
    assert held < 1.1 * true_tokens(SECOND)
    assert before - talker.balance()[0] == held * INPUT_PRICE + CAP * OUTPUT_PRICE
    assert exceeded(talking)
    assert held_for(talker, upstream, SECOND, model=FALSE_TALK) > PLAIN
