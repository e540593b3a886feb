"""A response whose upstream breaks at any byte, or whose client leaves at any event: paid whole, or not at all."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, chunk, stream_events
from tests.live import at_once, eventually
from tests.proxy.api.conftest import (
    CACHED_PRICE,
    CREDIT,
    INPUT_PRICE,
    MODEL,
    OUTPUT_PRICE,
    SLICED_MODEL,
    Caller,
)
from tests.proxy.api.responses.conftest import NATIVE_SLICED_MODEL, ask
from tests.proxy.api.responses.upstream import BODY, END, HEAD, STREAM, call_chunk, chat_stream, delta

CHAT_STREAM = chat_stream(
    chunk({"reasoning_content": "So"}),
    chunk({"content": "Hello!"}),
    call_chunk(0, call_id="c", name="look", arguments="{}"),
)
CHAT_COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
NATIVE_COST = 8 * INPUT_PRICE + 4 * CACHED_PRICE + 9 * OUTPUT_PRICE
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WAYS = pytest.mark.parametrize("native", [False, True], ids=["chat", "responses"])


def written(events: list[bytes]) -> bytes:
    return ANSWER + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in events) + b"0\r\n\r\n"


def last(answer: httpx.Response) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(answer.content.rstrip().split(b"data: ")[-1])
    return event


@WAYS
def test_a_stream_may_break_at_every_byte(
    caller: Caller, native_model: str, upstream: FakeUpstream, native: bool
) -> None:
    model, raw = (native_model, written(STREAM)) if native else (MODEL, written(CHAT_STREAM))
    cost = NATIVE_COST if native else CHAT_COST

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        cut = int(request["user"])
        writer.write(raw[:cut])
        await writer.drain()
        if cut < len(raw):
            writer.transport.abort() if cut % 2 else writer.close()

    upstream.script = script

    def cut_at(http: httpx.Client, cut: int) -> bool:
        answer = http.post(
            "/responses", json={"model": model, "input": "Hello!", "stream": True, "user": str(cut)}
        )
        if answer.status_code != 200:
            assert answer.status_code == 502
            return False
        if last(answer)["type"] == "response.failed":
            assert last(answer)["response"]["usage"] is None
            return False
        assert last(answer)["type"] == "response.completed"
        assert last(answer)["response"]["usage"]["cost_toman"] == pytest.approx(cost / 10**7)
        assert cut > raw.index(
            END if native else CHAT_STREAM[-3]
        )  # never a success without the end of the answer
        return True

    cuts = [*range(1, len(raw), 3), len(raw)]
    paid = sum(at_once(cut_at, cuts, threads=8, http=lambda: caller.http))
    assert paid >= 1
    records = UsageRecord.objects.filter(key_id=caller.key_id)
    assert records.filter(outcome="upstream_failed", cost_micro=0).count() == len(cuts) - paid
    assert records.filter(outcome="completed").count() == paid
    assert caller.balance() == (CREDIT - sum(records.values_list("cost_micro", flat=True)), 0)


@WAYS
def test_a_client_may_leave_at_every_event(
    caller: Caller, native_model: str, upstream: FakeUpstream, native: bool
) -> None:
    model, events = (native_model, STREAM) if native else (MODEL, CHAT_STREAM)
    upstream.script = stream_events(*(part for event in events for part in (event, 0.01)))
    for leaves_after in range(8):
        with (
            caller.http as http,
            http.stream(
                "POST", "/responses", json={"model": model, "input": "Hello!", "stream": True}
            ) as answer,
        ):
            seen = 0
            for part in answer.iter_raw():
                seen += part.count(b"\n\n")
                if seen > leaves_after:
                    break
    records = UsageRecord.objects.filter(key_id=caller.key_id)
    eventually(lambda: records.count() == 8)
    assert set(records.values_list("outcome", flat=True)) <= {"client_left", "completed"}
    assert all(0 < record.cost_micro <= 12 * INPUT_PRICE + 30 * OUTPUT_PRICE for record in records)


@WAYS
def test_an_answer_in_slices_goes_on_as_more_is_held(
    caller: Caller, native_model: str, upstream: FakeUpstream, native: bool
) -> None:
    words = "0123456789" * 3
    if native:
        parts = [*HEAD, *BODY[:2], *(delta(words, number) for number in range(4, 40)), END]
    else:
        parts = chat_stream(*(chunk({"content": words}) for _ in range(36)))
    upstream.script = stream_events(*parts)
    answer = ask(caller, NATIVE_SLICED_MODEL if native else SLICED_MODEL, stream=True)
    assert answer.content.count(b'"delta":"0123') + answer.content.count(b'"delta": "0123') == 36
    assert last(answer)["type"] == "response.completed"


@WAYS
def test_a_wallet_that_runs_dry_ends_a_stream_with_what_it_paid_for(
    make_caller: Any, native_model: str, upstream: FakeUpstream, native: bool
) -> None:
    poor = make_caller(credit_micro=400 * OUTPUT_PRICE + 1_000 * INPUT_PRICE)
    words = "word after word, "
    if native:
        parts = [*HEAD, *BODY[:2], *(delta(words, number) for number in range(4, 900)), END]
    else:
        parts = chat_stream(*(chunk({"content": words}) for _ in range(900)))
    upstream.script = stream_events(*parts)
    said = last(ask(poor, NATIVE_SLICED_MODEL if native else SLICED_MODEL, stream=True))
    assert said["type"] in {"response.incomplete", "response.failed"}
    response = said["response"]
    if said["type"] == "response.failed":
        assert response["error"]["code"] == "insufficient_quota"
    assert response["usage"]["cost_toman"] > 0
    assert poor.balance()[0] >= 0
