"""An upstream whose connection breaks at any byte of its answer: never a success without its end."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, Script, answer_whole, as_asked, respond
from tests.live import at_once
from tests.proxy.api.conftest import (
    CREDIT,
    EMBEDDING_MODEL,
    HELLO,
    INPUT_PRICE,
    MODEL,
    MODERATION_MODEL,
    OUTPUT_PRICE,
    REQUEST_PRICE,
    Caller,
)
from wallet.money import MICRO_PER_RIAL

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNKS = [b"%x\r\n%b\r\n" % (len(part), part) for part in STREAM]
RAW = HEAD + b"".join(CHUNKS) + b"0\r\n\r\n"
RELAYED = [as_asked(one, model=MODEL) for one in (*STREAM[:4], STREAM[5])]


@pytest.fixture
def cutting(upstream: FakeUpstream) -> list[int]:
    """The upstream sends as many bytes as `max_tokens` of the request says, and breaks the connection."""

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(RAW[: request["max_tokens"]])
        await writer.drain()
        if request["max_tokens"] % 2 and request["max_tokens"] < len(RAW):  # not even in order
            writer.transport.abort()
        raise ConnectionResetError

    upstream.script = script
    return list(range(1, len(RAW) + 1))


def test_a_stream_may_break_at_every_byte(caller: Caller, cutting: list[int]) -> None:
    answers = at_once(lambda http, cut: (cut, ask(http, cut)), cutting, threads=8, http=lambda: caller.http)
    paid = 0
    for cut, answer in answers:
        paid += judge(cut, answer)
    assert caller.balance() == (CREDIT - paid * COST, 0)
    records = UsageRecord.objects.filter(key_id=caller.key_id)
    assert records.count() == len(cutting)
    assert records.filter(outcome="completed", cost_micro=COST).count() == paid
    assert records.filter(outcome="upstream_failed", cost_micro=0).count() == len(cutting) - paid
    assert paid >= 1  # the last cut of all is none


def ask(http: httpx.Client, cut: int) -> httpx.Response:
    return http.post(
        "/chat/completions", json={"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": cut}
    )


def judge(cut: int, answer: httpx.Response) -> bool:
    """Whether it was delivered whole; anything else has to say that it was not."""
    whole_events = sum(len(HEAD + b"".join(CHUNKS[: number + 1])) - 2 <= cut for number in range(len(CHUNKS)))
    if answer.status_code == 502:
        assert answer.json()["error"]["code"] == "upstream_error"
        assert cut < len(RAW)  # events that arrive together with the break can be lost with it
        return False
    assert answer.status_code == 200
    assert whole_events >= 1
    *events, done = [part + b"\n\n" for part in answer.content.split(b"\n\n")[:-1]]
    assert done == STREAM[5]
    if b'"code":"upstream_error"' in events[-1]:
        assert events[:-1] == RELAYED[: len(events) - 1]  # nothing is missing in between, nothing is torn
        assert len(events) - 1 <= whole_events
        return False
    assert [*events, done] == RELAYED
    assert whole_events == len(CHUNKS)  # never a success without the end of the answer
    return True


VECTORS = respond(200, {"data": [{"embedding": [0.5, 1.5]}], "model": "up", "usage": {"prompt_tokens": 12}})
RESULTS = respond(200, {"id": "modr-1", "model": "up", "results": [{"flagged": False}]})


@pytest.mark.parametrize(
    ("path", "body", "script", "cost"),
    [
        ("/chat/completions", {"model": MODEL, "messages": HELLO}, answer_whole(), COST),
        ("/embeddings", {"model": EMBEDDING_MODEL, "input": "Hello!"}, VECTORS, 12 * INPUT_PRICE),
        (
            "/moderations",
            {"model": MODERATION_MODEL, "input": "Hello!"},
            RESULTS,
            REQUEST_PRICE * MICRO_PER_RIAL,
        ),
    ],
    ids=["chat", "embeddings", "moderations"],
)
def test_a_whole_answer_may_break_at_every_byte(
    caller: Caller, upstream: FakeUpstream, path: str, body: dict[str, Any], script: Script, cost: int
) -> None:
    raw = recorded(script)

    async def cutting(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(raw[: int(request["user"])])
        await writer.drain()
        raise ConnectionResetError

    upstream.script = cutting

    def cut_at(http: httpx.Client, cut: int) -> int:
        return http.post(path, json={**body, "user": str(cut)}).status_code

    statuses = at_once(cut_at, range(1, len(raw) + 1), threads=8, http=lambda: caller.http)
    assert statuses == [502] * (len(raw) - 1) + [200]
    assert caller.balance() == (CREDIT - cost, 0)


def recorded(script: Callable[..., Any]) -> bytes:
    """All that a script writes."""
    raw = bytearray()

    class Recorder:
        def write(self, data: bytes) -> None:
            raw.extend(data)

    asyncio.run(script({}, Recorder()))
    return bytes(raw)
