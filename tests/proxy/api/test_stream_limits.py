"""Where a stream is ended by us: at what is held, for want of content, at its last moment. What then is paid."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, chunk, stream_events
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import (
    CREDIT,
    LONG_MODEL,
    MODEL,
    OVERRUN_MODEL,
    Caller,
)
from tests.proxy.api.test_slow_streams import slow_reader

DONE = b"data: [DONE]\n\n"
WORD = chunk({"content": "word "})


def said(response: httpx.Response) -> list[Any]:
    parts = [part for part in response.content.split(b"\n\n") if part]
    assert parts.pop() == b"data: [DONE]"
    return [json.loads(part.removeprefix(b"data: ")) for part in parts if not part.startswith(b":")]


def texts(response: httpx.Response) -> list[str]:
    return [
        choice["delta"]["content"]
        for one in said(response)
        for choice in one["choices"]
        if choice["delta"].get("content")
    ]


def ends(response: httpx.Response) -> list[tuple[int, str]]:
    return [
        (choice["index"], choice["finish_reason"])
        for one in said(response)
        for choice in one["choices"]
        if choice.get("finish_reason")
    ]


def cuts(web: WebProcess) -> float:
    name = f'hamiran_output_cut_total{{upstream="upstream of {MODEL}"}} '
    answer = httpx.get(f"{web.url}/metrics", headers={"Authorization": "Bearer scraper"}, timeout=30)
    return sum(float(line.removeprefix(name)) for line in answer.text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_ends_at_what_is_held_and_what_was_relayed_is_paid(
    caller: Caller, upstream: FakeUpstream, asked: bool
) -> None:
    upstream.script = stream_events(*[WORD] * 5_000)
    before, logged = cuts(caller.web), len(caller.web.log)
    options = {"stream_options": {"include_usage": True}} if asked else {}
    response = caller.ask(stream=True, max_tokens=50, **options)
    assert texts(response) == ["word "] * 50
    assert ends(response) == [(0, "length")]
    assert upstream.hung_up.wait(5)
    record = caller.usage()
    assert (record.outcome, record.billed_by, record.uncovered_micro) == ("completed", "estimate", 0)
    assert record.completion_tokens >= 50
    assert caller.balance() == (CREDIT - record.cost_micro, 0)
    assert record.cost_micro > 0
    assert bool(said(response)[-1].get("usage")) == asked
    assert cuts(caller.web) == before + 1
    alarm = next(line for line in caller.web.log[logged:].splitlines() if "output beyond the hold" in line)
    assert json.loads(alarm)["key_id"] == caller.key_id
    assert json.loads(alarm)["upstream"] == f"upstream of {MODEL}"


def test_each_choice_that_is_open_gets_an_end_of_its_own(caller: Caller, upstream: FakeUpstream) -> None:
    def of(number: int, **choice: Any) -> bytes:
        body = {"choices": [{"index": number, "delta": {"content": "word "}, **choice}]}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    upstream.script = stream_events(of(0, finish_reason="stop"), *[of(1), of(2)] * 500)
    response = caller.ask(stream=True, max_tokens=10, n=3)
    assert len(texts(response)) == 30
    assert ends(response) == [(0, "stop"), (1, "length"), (2, "length")]


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x9" * 1000},
        {"reasoning_content": "x9" * 1000},
        {"reasoning": "x9" * 1000, "reasoning_content": "x9" * 1000},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x9" * 1000}]}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "x9" * 1000}}]},
        {"refusal": "x9" * 1000},
    ],
    ids=["content", "reasoning", "reasoning twice", "parts", "calls", "refusal"],
)
def test_every_kind_of_text_counts_towards_what_is_held(
    caller: Caller, upstream: FakeUpstream, delta: dict[str, Any]
) -> None:
    upstream.script = stream_events(*[chunk(delta)] * 100)  # 125 tokens each at the least
    response = caller.ask(stream=True, max_tokens=500)
    assert len([one for one in said(response) if one["choices"][0]["delta"]]) == 4
    assert ends(response)[-1][1] == "length"
    assert caller.usage().billed_by == "estimate"


def test_one_event_beyond_what_is_held_leaves_an_empty_answer(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(chunk({"content": "x9" * 10_000}), 30.0)
    response = caller.ask(stream=True, max_tokens=500)
    assert (texts(response), ends(response)) == ([], [(0, "length")])
    assert caller.usage().completion_tokens == 0


@pytest.mark.parametrize("text", ["-" * 4000, " " * 4000, "—" * 1000, "x" * 2000], ids=lambda text: text[0])
def test_an_honest_run_of_one_character_is_not_cut(caller: Caller, upstream: FakeUpstream, text: str) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 64, "total_tokens": 76}
    upstream.script = stream_events(chunk({"content": text}, finish="stop", usage=usage), DONE)
    response = caller.ask(stream=True, max_tokens=64)
    assert (texts(response), ends(response)) == ([text], [(0, "stop")])
    assert (caller.usage().billed_by, caller.usage().completion_tokens) == ("usage", 64)


def test_a_report_far_above_the_hold_does_not_lock_its_key_out(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    caller = make_caller(tpm=5_000)
    usage = {"prompt_tokens": 12, "completion_tokens": 1_000_000, "total_tokens": 1_000_012}
    upstream.script = stream_events(chunk({"content": "a"}, finish="stop", usage=usage), DONE)
    assert caller.ask(model=OVERRUN_MODEL, stream=True, max_tokens=10).status_code == 200
    assert caller.usage().uncovered_micro > 0
    second = caller.ask(model=OVERRUN_MODEL, stream=True, max_tokens=10)
    assert second.status_code == 200
    assert int(second.headers["x-ratelimit-remaining-tokens"]) > 4_000


def test_usage_of_one_choice_of_several_is_not_believed_of_kinds_known_for_it(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Kinds that are not known for it are believed as long as the text does not tell otherwise."""
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    upstream.script = stream_events(chunk({"content": "a b"}, finish="stop", usage=usage), DONE)
    caller.ask(stream=True, n=2)
    assert caller.usage().billed_by == "usage"


@pytest.fixture(scope="module")
def bounded(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    """A web process that waits longer for a first event than between two, and not long for something said."""
    env = {
        "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "6",
        "UPSTREAM_IDLE_TIMEOUT_SECONDS": "1",
        "UPSTREAM_CONTENT_TIMEOUT_SECONDS": "2",
        "UPSTREAM_STREAM_TIMEOUT_SECONDS": "5",
    }
    with django_db_blocker.unblock(), web_process(env=env) as process:
        yield process


@pytest.fixture
def there(make_caller: Callable[..., Caller], bounded: WebProcess) -> Caller:
    caller = make_caller()
    return replace(caller, web=bounded)


SIGNS_OF_LIFE = {
    "comments": b": keepalive\n\n",
    "empty deltas": chunk({"content": ""}),
    "no choices": chunk(None),
}


@pytest.mark.parametrize("kind", SIGNS_OF_LIFE)
def test_signs_of_life_for_ever_are_relayed_and_ended(
    there: Caller, upstream: FakeUpstream, kind: str
) -> None:
    parts: list[bytes | float] = [0.1, SIGNS_OF_LIFE[kind]] * 100
    upstream.script = stream_events(WORD, *parts)
    response = there.ask(stream=True)
    assert response.content.count(b"\n\n") > 10
    assert said(response)[-1]["error"]["code"] == "upstream_error"
    assert there.balance() == (CREDIT, 0)


def test_a_finished_answer_whose_stream_never_ends_is_delivered_and_paid(
    there: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(WORD, chunk({}, finish="stop"), 30.0)
    response = there.ask(stream=True)
    assert (texts(response), ends(response)) == (["word "], [(0, "stop")])
    record = there.usage()
    assert (record.outcome, record.billed_by) == ("completed", "estimate")
    assert there.balance() == (CREDIT - record.cost_micro, 0)


def test_what_is_ended_at_the_last_moment_is_paid_as_it_was_relayed(
    there: Caller, upstream: FakeUpstream
) -> None:
    parts: list[bytes | float] = [WORD, 0.1] * 100
    upstream.script = stream_events(*parts)
    response = there.ask(stream=True)
    assert ends(response) == [(0, "length")]
    record = there.usage()
    assert (record.outcome, record.billed_by) == ("completed", "estimate")
    assert record.completion_tokens >= len(texts(response))
    assert there.balance() == (CREDIT - record.cost_micro, 0)


@pytest.mark.parametrize("said_before", [b"", b": PROCESSING\n\n"])
def test_a_first_event_may_take_as_long_as_a_first_byte(
    there: Caller, upstream: FakeUpstream, said_before: bytes
) -> None:
    before = [said_before] if said_before else []
    upstream.script = stream_events(*before, 2.0, chunk({"content": "a"}, finish="stop"), DONE)
    assert texts(there.ask(stream=True)) == ["a"]


def test_what_breaks_while_its_client_does_not_read_is_paid_as_it_was_relayed(
    caller: Caller, upstream: FakeUpstream
) -> None:
    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        """Loses patience with a reader that takes nothing."""
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        big = chunk({"content": " " * 60_000})
        try:
            async with asyncio.timeout(1):
                while True:
                    writer.write(b"%x\r\n%b\r\n" % (len(big), big))
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()

    upstream.script = script
    with slow_reader(caller, LONG_MODEL) as raw:
        eventually(lambda: upstream.requests)
        time.sleep(2)  # the slowness itself
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received = received[-5:] + raw.recv(65536)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    record = caller.usage()
    assert (record.outcome, record.billed_by) == ("client_left", "estimate")
    assert record.cost_micro > 0
    assert caller.balance() == (CREDIT - record.cost_micro, 0)


def test_refusals_inside_a_200_open_no_breaker(caller: Caller, upstream: FakeUpstream) -> None:
    refused = b'data: {"error":{"message":"flagged","code":400}}\n\n'
    upstream.script = stream_events(refused)
    assert {caller.ask(stream=True).status_code for _ in range(12)} == {400}
    upstream.script = stream_events(WORD, refused)
    assert {caller.ask(stream=True).status_code for _ in range(12)} == {200}
    assert len(upstream.requests) == 24  # each of them was asked
    assert caller.balance() == (CREDIT, 0)
