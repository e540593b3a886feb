"""An upstream whose connection breaks at any byte of its answer: never a success without its end."""

import asyncio
from typing import Any

import httpx
import pytest

from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, answer_whole, as_asked
from tests.live import at_once
from tests.proxy.api.conftest import CREDIT, HELLO, INPUT_PRICE, MODEL, OUTPUT_PRICE, Caller

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


def test_a_whole_answer_may_break_at_every_byte(caller: Caller, upstream: FakeUpstream) -> None:
    raw = bytearray()

    class Recorder:
        def write(self, data: bytes) -> None:
            raw.extend(data)

    asyncio.run(answer_whole()({}, Recorder()))  # type: ignore[arg-type]

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(raw[: request["max_tokens"]]))
        await writer.drain()
        raise ConnectionResetError

    upstream.script = script

    def cut_at(http: httpx.Client, cut: int) -> int:
        return http.post(
            "/chat/completions", json={"model": MODEL, "messages": HELLO, "max_tokens": cut}
        ).status_code

    statuses = at_once(cut_at, range(1, len(raw) + 1), threads=8, http=lambda: caller.http)
    assert statuses == [502] * (len(raw) - 1) + [200]
    assert caller.balance() == (CREDIT - COST, 0)
