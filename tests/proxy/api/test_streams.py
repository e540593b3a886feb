"""Streams as clients see them: verbatim, never a truncated success, and paid for before the last bytes."""

import asyncio
import json
import socket
import struct
import threading
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest
from django.utils import timezone

from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, USAGE, FakeUpstream, as_asked, chunk, respond, stream_events
from tests.live import eventually
from tests.proxy.api.conftest import (
    CREDIT,
    DRAINED_MODEL,
    HELLO,
    INPUT_PRICE,
    LONG_MODEL,
    MODEL,
    OUTPUT_PRICE,
    Caller,
)
from wallet.ledger import holds
from wallet.ledger.models import Hold

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
DETAILS = {
    "input": {"quantity": 12, "toman": 12 * INPUT_PRICE / 10**7},
    "output": {"quantity": 9, "toman": 9 * OUTPUT_PRICE / 10**7},
}
RELAYED = as_asked(*STREAM[:4], STREAM[5], model=MODEL)


def events(response: httpx.Response) -> list[str]:
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.text.endswith("\n\n")
    return [part.removeprefix("data: ") for part in response.text.split("\n\n")[:-1]]


def test_a_stream_is_relayed_verbatim_but_for_its_model_and_without_the_usage_nobody_asked_for(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM)
    response = caller.ask(stream=True)
    assert response.content == RELAYED
    assert upstream.requests[0]["stream_options"] == {"include_usage": True}
    assert upstream.requests[0]["model"] == "up-model"
    assert caller.balance() == (CREDIT - COST, 0)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.stream, usage.cost_micro) == (
        "completed",
        "usage",
        True,
        COST,
    )


def test_usage_comes_as_one_last_chunk_where_it_was_asked_for(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*STREAM)
    chunks = list(
        caller.sdk.chat.completions.create(
            model=MODEL,
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert [bool(one.usage) for one in chunks] == [False, False, False, False, True]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 21
    assert chunks[-1].usage.model_extra == {"cost_toman": COST / 10**7, "cost_details": DETAILS}


@pytest.mark.parametrize("asked", [False, True])
def test_usage_on_every_chunk_counts_once_and_looks_like_openais(
    caller: Caller, upstream: FakeUpstream, asked: bool
) -> None:
    growing = [{"prompt_tokens": 12, "completion_tokens": n, "total_tokens": 12 + n} for n in (1, 5, 9)]
    upstream.script = stream_events(
        chunk({"role": "assistant", "content": "a"}, usage=growing[0]),
        chunk({"content": "b"}, usage=growing[1]),
        chunk({}, finish="stop", usage=growing[2]),
        b"data: [DONE]\n\n",
    )
    options = {"stream_options": {"include_usage": True}} if asked else {}
    parts = [json.loads(part) for part in events(caller.ask(stream=True, **options))[:-1]]
    assert caller.balance()[0] == CREDIT - COST
    if asked:
        assert [part["usage"] for part in parts] == [
            None,
            None,
            None,
            {**growing[2], "cost_toman": COST / 10**7, "cost_details": DETAILS},
        ]
        assert parts[-1]["choices"] == []
        assert parts[-1]["id"] == "c"
    else:
        assert all("usage" not in part for part in parts)
        assert len(parts) == 3


def test_reasoning_that_only_the_total_shows_is_billed(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(
        chunk(
            {"content": "a"},
            finish="stop",
            usage={"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 52},
        )
    )
    caller.ask(stream=True)
    assert caller.usage().completion_tokens == 42


def test_cached_tokens_have_their_own_price(caller: Caller, upstream: FakeUpstream) -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 10}}
    upstream.script = stream_events(
        chunk({"content": "a"}, finish="stop"), chunk(None, usage=usage), b"data: [DONE]\n\n"
    )
    caller.ask(stream=True)
    assert caller.usage().cost_micro == 2 * 1000 + 10 * 250 + 9 * 3000


def test_a_stream_without_usage_is_billed_by_estimate_and_says_so(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM[:4], STREAM[5])
    caller.ask(stream=True)
    usage = caller.usage()
    assert usage.billed_by == "estimate"
    assert usage.completion_tokens == 2  # two deltas carried text
    assert usage.cost_micro > 0


def test_an_estimate_is_shown_where_usage_was_asked_for_and_upstream_has_none(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM[:4], STREAM[5])
    *_chunks, last, done = events(caller.ask(stream=True, stream_options={"include_usage": True}))
    usage, record = json.loads(last)["usage"], caller.usage()
    assert usage["completion_tokens"] == record.completion_tokens == 2
    assert usage["cost_toman"] == record.cost_micro / 10**7
    assert done == "[DONE]"


def test_an_upstream_that_omits_done_after_finishing_is_complete(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM[:5])
    assert events(caller.ask(stream=True))[-1] == "[DONE]"
    assert caller.usage().outcome == "completed"


FAILURES: dict[str, Any] = {
    "ends in the middle": stream_events(*STREAM[:2]),
    "is cut off": stream_events(*STREAM[:2], cut=True),
    "reports an error": stream_events(
        *STREAM[:2], b'data: {"error":{"message":"overloaded","code":503}}\n\n'
    ),
    "reports an error as gemini does": stream_events(
        *STREAM[:2], b'data: [{"error":{"message":"x","code":503}}]\n\n'
    ),
    "sends garbage": stream_events(*STREAM[:2], b"data: {not json\n\n"),
    "falls silent": stream_events(*STREAM[:2], 6.0),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_after_the_first_byte_is_an_error_event_and_costs_nothing(
    caller: Caller, upstream: FakeUpstream, failure: str
) -> None:
    upstream.script = FAILURES[failure]
    response = caller.ask(stream=True)
    assert response.status_code == 200
    *_relayed, error, done = events(response)
    assert json.loads(error)["error"]["code"] == "upstream_error"
    assert done == "[DONE]"
    assert caller.balance() == (CREDIT, 0)
    assert caller.usage().outcome == "upstream_failed"


def test_the_sdk_raises_on_a_failure_in_the_middle(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*STREAM[:3], cut=True)
    with pytest.raises(openai.APIError, match="temporarily unavailable"):
        list(caller.sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True))


@pytest.mark.parametrize(
    "script",
    [
        stream_events(),
        stream_events(b'data: {"error":{"message":"no"}}\n\n'),
        stream_events(b"garbage without end"),
        stream_events(6.0),
        respond(200, {"error": "no"}),
    ],
    ids=["empty", "error first", "garbage", "silent", "json"],
)
def test_a_failure_before_the_first_byte_keeps_its_status(
    caller: Caller, upstream: FakeUpstream, script: Any
) -> None:
    upstream.script = script
    response = caller.ask(stream=True)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert caller.balance() == (CREDIT, 0)


def test_events_cut_at_every_byte_arrive_whole(caller: Caller, upstream: FakeUpstream) -> None:
    raw = b"".join(STREAM)
    upstream.script = stream_events(*(raw[n : n + 1] for n in range(len(raw))))
    assert caller.ask(stream=True).content == RELAYED


def test_comments_and_windows_line_ends_pass(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(
        b": keep-alive\r\n\r\n", *(part.replace(b"\n", b"\r\n") for part in STREAM)
    )
    assert caller.ask(stream=True).content == b": keep-alive\n\n" + RELAYED


def test_a_ten_megabyte_event_passes(caller: Caller, upstream: FakeUpstream) -> None:
    big = chunk({"content": " " * 10_000_000})
    upstream.script = stream_events(STREAM[0], big, STREAM[3], STREAM[5])
    assert caller.ask(model=LONG_MODEL, stream=True).content == as_asked(
        STREAM[0], big, STREAM[3], STREAM[5], model=LONG_MODEL
    )


def test_an_event_is_with_the_client_before_the_next_exists(caller: Caller, upstream: FakeUpstream) -> None:
    """Never merged, never held back: the upstream goes on only when the client has what was sent."""
    received = threading.Semaphore(0)

    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for event in STREAM[:4]:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            assert await asyncio.to_thread(received.acquire, timeout=10)
        rest = b"".join(STREAM[4:])
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))

    upstream.script = script
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = []
        for part in response.iter_raw():
            parts.append(part)
            received.release()
    assert b"".join(parts) == RELAYED
    assert len(parts) == 5


def test_a_stream_whose_hold_is_gone_ends_in_an_error_and_costs_nothing(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM[:2], 0.5, *STREAM[2:])
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        Hold.objects.filter(wallet=caller.wallet).update(
            created_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now()
        )
        assert holds.sweep_expired() >= 1
        end = b"".join(parts).split(b"\n\n")
    assert json.loads(end[-3].removeprefix(b"data: "))["error"]["code"] == "service_unavailable"
    assert end[-2:] == [b"data: [DONE]", b""]
    assert caller.balance() == (CREDIT, 0)


def leave_in_the_middle(caller: Caller, model: str) -> None:
    with (
        caller.http as http,
        http.stream(
            "POST", "/chat/completions", json={"model": model, "messages": HELLO, "stream": True}
        ) as response,
    ):
        next(response.iter_raw())


ENDLESS: list[bytes | float] = [chunk({"content": "word "}), 0.05] * 200


def test_a_client_that_leaves_pays_for_what_was_relayed_and_upstream_is_stopped(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*ENDLESS)
    leave_in_the_middle(caller, MODEL)
    assert upstream.hung_up.wait(5)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by) == ("client_left", "estimate")
    assert 0 < usage.completion_tokens < 200
    assert caller.balance()[0] == CREDIT - usage.cost_micro


def test_where_upstream_bills_anyway_it_is_read_to_its_end(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*STREAM[:2], 0.5, *STREAM[2:])
    leave_in_the_middle(caller, DRAINED_MODEL)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.cost_micro) == ("client_left", "usage", COST)
    assert not upstream.hung_up.is_set()


def head(caller: Caller, length: int) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {caller.key}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def test_a_client_that_leaves_before_the_first_event_settles_too(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(60.0, *STREAM)  # there is nothing to notice it by but the connection
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", caller.web.port)) as raw:
        raw.sendall(head(caller, len(body)) + body)
        eventually(lambda: upstream.requests)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.status) == ("client_left", "nothing", 499)
    assert caller.balance() == (CREDIT, 0)


def test_whoever_leaves_before_the_first_event_has_used_the_tokens_of_the_prompt(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller(tpm=10_000)
    upstream.script = stream_events(60.0, *STREAM)
    long = [{"role": "user", "content": "word " * 6_000}]
    body = json.dumps({"model": MODEL, "messages": long, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", caller.web.port)) as raw:
        raw.sendall(head(caller, len(body)) + body)
        eventually(lambda: upstream.requests)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    upstream.reset()
    second = caller.ask()
    assert int(second.headers["x-ratelimit-remaining-tokens"]) < 10_000 - 7_500
    assert caller.ask(messages=long).status_code == 429


def test_a_drained_upstream_is_paid_though_its_client_left_before_the_first_event(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(0.5, *STREAM)
    body = json.dumps({"model": DRAINED_MODEL, "messages": HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", caller.web.port)) as raw:
        raw.sendall(head(caller, len(body)) + body)
        eventually(lambda: upstream.requests)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.completion_tokens) == ("client_left", "usage", 9)


def test_a_client_that_leaves_between_the_headers_and_the_first_event_settles_too(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*ENDLESS)
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", caller.web.port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves with a reset
        raw.sendall(head(caller, len(body)) + body)
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += raw.recv(1)
    assert upstream.hung_up.wait(5)
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    assert caller.usage().outcome == "client_left"
    assert caller.balance() == (CREDIT - caller.usage().cost_micro, 0)


def test_a_client_that_leaves_during_its_own_upload_costs_nothing(
    caller: Caller, upstream: FakeUpstream
) -> None:
    with socket.create_connection(("127.0.0.1", caller.web.port)) as raw:
        raw.sendall(head(caller, 1000) + b'{"model":')
    assert caller.ask().status_code == 200  # the process lives, and only this one was charged
    assert UsageRecord.objects.filter(key_id=caller.key_id).count() == 1
    assert len(upstream.requests) == 1


def test_leaving_once_the_text_is_complete_still_pays_what_upstream_reports(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM[:4], 0.3, *STREAM[4:])
    with (
        caller.http as http,
        http.stream(
            "POST", "/chat/completions", json={"model": MODEL, "messages": HELLO, "stream": True}
        ) as response,
    ):
        received = b""
        for part in response.iter_raw():
            received += part
            if b'"finish_reason":"stop"' in received:
                break
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.cost_micro) == ("client_left", "usage", COST)


def test_an_answer_that_cannot_be_paid_for_ends_in_an_error_event(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Its hold is taken away in the middle, as by a sweeper after a machine had slept for an hour."""
    upstream.script = stream_events(STREAM[0], 0.5, *STREAM[1:])
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        Hold.objects.filter(wallet=caller.wallet).update(
            created_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now()
        )
        holds.sweep_expired()
        rest = b"".join(parts)
    assert b'"code":"service_unavailable"' in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    assert caller.balance() == (CREDIT, 0)
