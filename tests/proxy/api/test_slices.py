"""A streamed answer is held for slice by slice: ahead of what is relayed, and never relayed beyond it."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from proxy.catalogue.models import LanguageModel
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, chunk, stream_events
from tests.live import eventually
from tests.proxy.api.conftest import (
    CREDIT,
    HELLO,
    HIDING_MODEL,
    INPUT_PRICE,
    LONG_MODEL,
    OUTPUT_PRICE,
    SLICE,
    SLICED_MODEL,
    Caller,
)
from tests.proxy.api.test_stream_limits import DONE, ends, said, texts
from wallet.ledger.models import Hold

PROMPT = 64 + 100  # tokens at most that are held of HELLO
WORD = chunk({"content": "0123456789"})


def finished(completion: int) -> bytes:
    usage = {"prompt_tokens": 12, "completion_tokens": completion, "total_tokens": 12 + completion}
    return chunk({}, finish="stop", usage=usage)


def paced(count: int, pause: float, event: bytes = WORD) -> list[bytes | float]:
    parts: list[bytes | float] = [event, pause] if pause else [event]
    return parts * count


class InStep:
    """An upstream's script that sends each word once the test has `taken` the one before."""

    def __init__(self, count: int, *rest: bytes) -> None:
        self.count, self.rest, self.taken = count, rest, threading.Semaphore(0)

    async def __call__(self, _request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(self.count):
            writer.write(b"%x\r\n%b\r\n" % (len(WORD), WORD))
            await asyncio.to_thread(self.taken.acquire, timeout=30)
        rest = b"".join(self.rest)
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))


def tokens_held(caller: Caller) -> int:
    """Of output at the least."""
    held = Hold.objects.get(wallet=caller.wallet).amount_micro
    return (held - PROMPT * INPUT_PRICE) // OUTPUT_PRICE


def test_what_is_relayed_is_always_held_and_little_more(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = script = InStep(60, finished(150), DONE)
    body = {"model": SLICED_MODEL, "messages": HELLO, "stream": True, "max_tokens": 40_000}
    relayed, held = 0, []
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        for part in response.iter_raw():
            if words := part.count(b"0123456789"):
                relayed += 10 * words
                held.append((relayed, tokens_held(caller)))
                script.taken.release(words)
    assert all(relayed <= tokens + PROMPT for relayed, tokens in held)
    assert all(tokens <= relayed + 3 * SLICE for relayed, tokens in held)
    assert held[-1][1] > held[0][1]
    record = caller.usage()
    assert (record.billed_by, record.completion_tokens, record.uncovered_micro) == ("usage", 150, 0)
    assert caller.balance() == (CREDIT - 12 * INPUT_PRICE - 150 * OUTPUT_PRICE, 0)
    assert upstream.requests[0]["max_tokens"] == 40_000


def test_a_wallet_needs_not_cover_the_cap_but_a_slice_of_it(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    caller = make_caller(credit_micro=PROMPT * INPUT_PRICE + 2 * SLICE * OUTPUT_PRICE)
    upstream.script = stream_events(*[WORD] * 9, finished(30), DONE)
    response = caller.ask(model=SLICED_MODEL, stream=True, max_tokens=40_000)
    assert (texts(response), ends(response)) == (["0123456789"] * 9, [(0, "stop")])
    assert caller.usage().completion_tokens == 30
    assert (
        caller.ask(model=SLICED_MODEL, max_tokens=40_000).status_code == 402
    )  # as one it is held for as a whole


def test_a_cap_within_a_slice_is_covered_or_refused(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    """Nobody gets half of the answer that was asked for, and no word of why."""
    caller = make_caller(credit_micro=PROMPT * INPUT_PRICE + 700 * OUTPUT_PRICE)
    refused = caller.ask(model=LONG_MODEL, stream=True, max_tokens=1_500)
    assert refused.json()["error"]["code"] == "insufficient_balance"
    assert 700 <= refused.json()["error"]["max_tokens_that_fit"] < 1_000
    assert upstream.requests == []


@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_what_is_not_covered_ends_the_answer_cleanly_and_what_was_relayed_is_paid(
    make_caller: Callable[..., Caller], upstream: FakeUpstream, pause: float
) -> None:
    credit = PROMPT * INPUT_PRICE + 3 * SLICE * OUTPUT_PRICE
    caller = make_caller(credit_micro=credit)
    upstream.script = stream_events(*paced(300, pause), finished(3_000), DONE)
    response = caller.ask(model=SLICED_MODEL, stream=True, max_tokens=40_000)
    *answer, error = said(response)
    assert error["error"]["code"] == "insufficient_balance"
    assert error["error"]["required_toman"] > error["error"]["available_toman"] > 0
    shown = [one["choices"][0] for one in answer]
    assert shown[-1]["finish_reason"] == "length"
    relayed = sum(len(choice["delta"].get("content", "")) for choice in shown)
    assert 2 * SLICE <= relayed <= 4 * SLICE + PROMPT
    assert not pause or upstream.hung_up.wait(5)  # without one it has sent all of it before
    record = caller.usage()
    assert (record.outcome, record.billed_by, record.uncovered_micro) == ("completed", "estimate", 0)
    assert relayed // 4 <= record.completion_tokens <= relayed
    assert record.cost_micro > 0
    assert caller.balance() == (credit - record.cost_micro, 0)


def test_the_official_sdk_gets_the_text_and_then_the_reason(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    caller = make_caller(credit_micro=PROMPT * INPUT_PRICE + SLICE * OUTPUT_PRICE)
    upstream.script = stream_events(*[WORD] * 300)
    got: list[str | None] = []
    stream = caller.sdk.chat.completions.create(
        model=SLICED_MODEL, messages=HELLO, stream=True, max_tokens=9_000
    )
    with pytest.raises(openai.APIError, match="Insufficient wallet balance"):
        got.extend(choice.finish_reason for one in stream for choice in one.choices)
    assert got[-1] == "length"
    assert caller.usage().outcome == "completed"


def test_an_event_larger_than_many_slices_waits_for_them(caller: Caller, upstream: FakeUpstream) -> None:
    large = chunk({"content": "0123456789" * 500})
    upstream.script = stream_events(large, large, finished(2_500), DONE)
    response = caller.ask(model=SLICED_MODEL, stream=True, max_tokens=40_000)
    assert [len(text) for text in texts(response)] == [5_000, 5_000]
    assert (caller.usage().completion_tokens, caller.usage().uncovered_micro) == (2_500, 0)


@pytest.mark.parametrize("sent", ["whole", "in one piece", "cut"])
def test_an_answer_that_has_ended_while_it_waited_ends_as_it_was(
    caller: Caller, upstream: FakeUpstream, sent: str
) -> None:
    events = [chunk({"content": "0123456789" * 30}) for _ in range(3)]
    if sent == "cut":
        upstream.script = stream_events(b"".join(events), cut=True)
    elif sent == "in one piece":
        upstream.script = stream_events(b"".join([*events, finished(99), DONE]))
    else:
        upstream.script = stream_events(*events, finished(99), DONE)
    response = caller.ask(model=SLICED_MODEL, stream=True, max_tokens=40_000)
    if sent == "cut":
        assert said(response)[-1]["error"]["code"] == "upstream_error"
        assert caller.balance() == (CREDIT, 0)
        return
    assert (len(texts(response)), ends(response)) == (3, [(0, "stop")])
    assert caller.usage().completion_tokens == 99


def test_whoever_leaves_pays_for_what_was_made_and_leaves_no_hold(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*paced(500, 0.01))
    body = {"model": SLICED_MODEL, "messages": HELLO, "stream": True, "max_tokens": 40_000}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        relayed = b""
        while relayed.count(b"0123456789") < 30:
            relayed += next(parts)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    record = caller.usage()
    assert (record.outcome, record.billed_by, record.uncovered_micro) == ("client_left", "estimate", 0)
    assert record.completion_tokens >= 30
    assert caller.balance() == (CREDIT - record.cost_micro, 0)


def test_what_is_billed_and_not_shown_is_covered_and_learned(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(WORD, finished(5_000), DONE)
    asked: dict[str, Any] = {"model": HIDING_MODEL, "stream": True, "max_tokens": 40_000}
    assert ends(caller.ask(**asked)) == [(0, "stop")]
    record = caller.usage()
    assert (record.completion_tokens, record.uncovered_micro) == (5_000, 0)
    known = LanguageModel.objects.filter(model_id=HIDING_MODEL).values_list(
        "learned_hidden_tokens", flat=True
    )
    eventually(lambda: list(known.all()) == [5_000 - 10])

    upstream.script = script = InStep(1, finished(20), DONE)
    body = {"messages": HELLO, **asked}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        assert 5_000 - 10 <= tokens_held(caller) + PROMPT <= 5_000 + SLICE + 2 * PROMPT
        script.taken.release()
        assert b"".join(parts).endswith(DONE)


def test_several_answers_share_their_slices(caller: Caller, upstream: FakeUpstream) -> None:
    def of(number: int, **choice: Any) -> bytes:
        body = {"choices": [{"index": number, "delta": {"content": "0123456789" * 9}, **choice}]}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    upstream.script = stream_events(
        *[of(0), of(1)] * 20, of(0, finish_reason="stop"), of(1, finish_reason="stop")
    )
    response = caller.ask(model=SLICED_MODEL, stream=True, max_tokens=9_000, n=2)
    assert len(texts(response)) == 42
    assert ends(response) == [(0, "stop"), (1, "stop")]
    assert caller.usage().uncovered_micro == 0


def test_a_short_answer_has_nothing_extended(caller: Caller, upstream: FakeUpstream) -> None:
    """Of 1,200 letters, under the slice that models have."""
    upstream.script = script = InStep(120, finished(220), DONE)
    body = {"model": LONG_MODEL, "messages": HELLO, "stream": True}
    held = set()
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        for part in response.iter_raw():
            if words := part.count(b"0123456789"):
                held.add(tokens_held(caller))
                script.taken.release(words)
    assert len(held) == 1


def test_at_once_on_one_wallet_nobody_overdraws(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    caller = make_caller(
        credit_micro=20 * (PROMPT * INPUT_PRICE + 2 * SLICE * OUTPUT_PRICE), concurrency=20, rpm=100
    )
    upstream.script = stream_events(*paced(60, 0.01), finished(150), DONE)
    body = {"model": SLICED_MODEL, "messages": HELLO, "stream": True, "max_tokens": 40_000}

    async def story() -> list[bytes]:
        client = openai.DefaultAsyncHttpxClient(timeout=60)
        headers = {"Authorization": f"Bearer {caller.key}"}
        url = f"{caller.web.url}/v1/chat/completions"
        async with client:
            answers = await asyncio.gather(*(client.post(url, json=body, headers=headers) for _ in range(20)))
        return [answer.content for answer in answers]

    answers = asyncio.run(story())
    assert {answer.endswith(DONE) or b"insufficient_balance" in answer for answer in answers} == {True}
    assert any(b"insufficient_balance" in answer for answer in answers)
    eventually(lambda: caller.balance()[1] == 0)
    assert caller.balance()[0] >= 0
    assert (
        sum(UsageRecord.objects.filter(key_id=caller.key_id).values_list("uncovered_micro", flat=True)) == 0
    )
