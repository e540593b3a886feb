"""POST /v1/audio/speech: sound as it comes, paid by the character or by reported tokens."""

import asyncio
import base64
import json
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from proxy.idempotency import keeping
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, Script, respond, stream_events
from tests.live import at_once, eventually, web_process
from tests.proxy.api.conftest import CREDIT, MODEL, Caller
from tests.proxy.api.media.conftest import (
    BY_CHARACTER,
    CHARACTER,
    DRAINED_SPEECH,
    INPUT,
    OUTPUT_AUDIO,
    SPEECH_BY_BOTH,
    SPEECH_BY_TOKEN,
    assert_cost_can_be_computed_anew,
    cutting,
    event,
    raw,
)

TEXT = "سلام، دنیا! 👋"
COST = len(TEXT) * CHARACTER
SOUND = b"ID3\x04\x00\xff\xfb\x90" + bytes(range(256)) * 40
USAGE = {"input_tokens": 9, "output_tokens": 120, "total_tokens": 129}


def sound(
    *parts: bytes | float | threading.Event, cut: bool = False, content_type: str = "audio/mpeg"
) -> Script:
    """Sound that comes in parts."""
    events = stream_events(*parts, cut=cut)

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        class Other:
            def write(self, data: bytes) -> None:
                writer.write(data.replace(b"text/event-stream", content_type.encode()))

            async def drain(self) -> None:
                await writer.drain()

        await events(request, Other())  # type: ignore[arg-type]

    return script


DELTAS = [event(type="speech.audio.delta", audio=base64.b64encode(SOUND[:30]).decode()) for _ in range(2)]
DONE = event(type="speech.audio.done", usage=USAGE)


def ask(caller: Caller, **fields: Any) -> httpx.Response:
    with caller.http as http:
        return http.post(
            "/audio/speech", json={"model": BY_CHARACTER, "input": TEXT, "voice": "alloy", **fields}
        )


def test_sound_is_passed_on_as_it_is_and_paid_by_the_character(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND[:100], SOUND[100:])
    with caller.sdk.audio.speech.with_streaming_response.create(
        model=BY_CHARACTER,
        voice="alloy",
        input=TEXT,
        response_format="mp3",
        speed=1.25,
        instructions="Whisper.",
    ) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.read() == SOUND
    assert upstream.requests == [
        {
            "model": "up-model", "voice": "alloy", "input": TEXT, "response_format": "mp3", "speed": 1.25,
            "instructions": "Whisper.",
        }
    ]  # fmt: skip
    record = caller.usage()
    assert (record.endpoint, record.outcome, record.billed_by) == ("speech", "completed", "counted")
    assert (record.prompt_tokens, record.completion_tokens) == (0, 0)
    assert record.quantities == {"character": len(TEXT + "Whisper.")}
    assert record.cost_micro == len(TEXT + "Whisper.") * CHARACTER
    assert caller.balance() == (CREDIT - record.cost_micro, 0)
    assert_cost_can_be_computed_anew(caller)


def test_sound_arrives_before_upstream_has_made_all_of_it(caller: Caller, upstream: FakeUpstream) -> None:
    heard = threading.Event()
    upstream.script = sound(SOUND[:100], heard, SOUND[100:])
    body = {"model": BY_CHARACTER, "input": TEXT, "voice": "alloy"}
    with caller.http as http, http.stream("POST", "/audio/speech", json=body) as answer:
        parts = answer.iter_raw()
        first = next(parts)
        heard.set()
        assert first + b"".join(parts) == SOUND


@pytest.mark.parametrize(
    ("told", "asked", "passed_on"),
    [
        ("audio/ogg; codecs=opus", "opus", "audio/ogg; codecs=opus"),
        ("text/html", "flac", "audio/flac"),
        ("application/octet-stream", "mp3", "audio/mpeg"),
        ("", "new", "application/octet-stream"),
    ],
)
def test_sound_is_never_called_anything_but_sound(
    caller: Caller, upstream: FakeUpstream, told: str, asked: str, passed_on: str
) -> None:
    upstream.script = sound(SOUND, content_type=told)
    assert ask(caller, response_format=asked).headers["content-type"] == passed_on


def test_a_small_sound_that_looks_like_text_at_first_is_sound(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = sound(b"{\x00\x01", b"\x02<", content_type="audio/pcm")
    assert ask(caller, response_format="pcm").content == b"{\x00\x01\x02<"
    assert caller.usage().cost_micro == COST


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (respond(400, {"error": {"message": "No such voice.", "code": "bad_voice"}}), 400, "bad_voice"),
        (respond(200, {"error": {"message": "No such voice.", "code": "bad", "status": 400}}), 400, "bad"),
        (respond(200, {"error": {"message": "Boom."}}), 502, "upstream_error"),
        (respond(200, {"status": "queued"}), 502, "upstream_error"),
        (respond(200, b"<!DOCTYPE html><p>Welcome!", content_type="text/html"), 502, "upstream_error"),
        (respond(200, b"", content_type="audio/mpeg"), 502, "upstream_error"),
        (sound(cut=True), 502, "upstream_error"),
    ],
)
def test_what_is_no_sound_costs_nothing_and_has_its_status(
    caller: Caller, upstream: FakeUpstream, script: Script, status: int, code: str
) -> None:
    upstream.script = script
    answer = ask(caller)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert caller.balance() == (CREDIT, 0)


def test_sound_that_breaks_off_costs_nothing_and_is_never_taken_for_whole(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND[:500], cut=True)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(caller)
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).exists())
    assert (caller.usage().outcome, caller.usage().cost_micro) == ("upstream_failed", 0)
    assert caller.balance() == (CREDIT, 0)


def test_sound_that_falls_silent_costs_nothing(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = sound(SOUND[:500], 5.0, SOUND[500:])
    with pytest.raises(httpx.RemoteProtocolError):
        ask(caller)
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).exists())
    assert (caller.usage().outcome, caller.usage().cost_micro) == ("upstream_failed", 0)


def test_sound_that_a_stopping_process_cannot_finish_costs_nothing_and_is_broken_off(
    caller: Caller, upstream: FakeUpstream
) -> None:
    stopped = threading.Event()
    upstream.script = sound(SOUND[:500], stopped, SOUND[500:])
    body = {"model": BY_CHARACTER, "input": TEXT, "voice": "alloy"}
    with web_process(env={"SHUTDOWN_GRACE_SECONDS": "1"}) as web:
        leaving = replace(caller, web=web)
        with leaving.http as http, http.stream("POST", "/audio/speech", json=body) as answer:
            parts = answer.iter_raw()
            next(parts)
            web.process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                list(parts)
        stopped.set()
        assert web.process.wait(20) == 0
    assert (caller.usage().outcome, caller.balance()) == ("interrupted", (CREDIT, 0))


@pytest.mark.parametrize("model", [BY_CHARACTER, DRAINED_SPEECH])
def test_a_client_that_leaves_pays_for_the_text(caller: Caller, upstream: FakeUpstream, model: str) -> None:
    gone = threading.Event()
    upstream.script = sound(SOUND[:100], gone, SOUND[100:])
    body = {"model": model, "input": TEXT, "voice": "alloy"}
    with caller.http as http, http.stream("POST", "/audio/speech", json=body) as answer:
        next(answer.iter_raw())
    gone.set()
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).exists())
    assert (caller.usage().outcome, caller.usage().cost_micro) == ("client_left", COST)


@pytest.mark.parametrize("parts", range(1, 5))
@pytest.mark.parametrize("in_events", [True, False])
def test_a_client_that_leaves_after_any_part_pays_for_the_text(
    caller: Caller, upstream: FakeUpstream, parts: int, in_events: bool
) -> None:
    gone = threading.Event()
    pieces = [DELTAS[0]] * 4 if in_events else [SOUND[:100], SOUND[100:200], SOUND[200:300], SOUND[300:]]
    upstream.script = sound(*pieces[:parts], gone, *pieces[parts:], *([DONE] if in_events else []))
    body = {"model": BY_CHARACTER, "input": TEXT, "voice": "alloy"} | (
        {"stream_format": "sse"} if in_events else {}
    )
    expected = sum(map(len, pieces[:parts]))
    with caller.http as http, http.stream("POST", "/audio/speech", json=body) as answer:
        received = 0
        for piece in answer.iter_raw():
            received += len(piece)
            if received >= expected:
                break
    gone.set()
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).exists())
    assert (caller.usage().outcome, caller.usage().cost_micro) == ("client_left", COST)


def heard(http: httpx.Client, model: str, cut: int, **fields: Any) -> bytes | None:
    """What came as a whole answer; None for a failure, however it is told."""
    body = {"model": model, "input": TEXT, "voice": "alloy", "cut": str(cut), **fields}
    try:
        answer = http.post("/audio/speech", json=body)
    except httpx.RemoteProtocolError:
        return None
    if answer.status_code == 502 or b'"code":"upstream_error"' in answer.content:
        return None
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("by_length", [True, False])
def test_sound_may_break_at_every_byte(caller: Caller, upstream: FakeUpstream, by_length: bool) -> None:
    small = SOUND[:40]
    whole = raw(
        respond(200, small, content_type="audio/mpeg") if by_length else sound(small[:15], small[15:])
    )
    upstream.script = cutting(whole, field="cut")
    answers = at_once(
        lambda http, cut: heard(http, BY_CHARACTER, cut),
        range(1, len(whole) + 1),
        threads=8,
        http=lambda: caller.http,
    )
    paid = [answer for answer in answers if answer is not None]
    assert set(paid) == {small}
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).count() == len(whole))
    assert caller.balance() == (CREDIT - len(paid) * COST, 0)
    assert len(paid) == 1


def test_speech_in_events_may_break_at_every_byte(caller: Caller, upstream: FakeUpstream) -> None:
    whole = raw(stream_events(*DELTAS, DONE))
    upstream.script = cutting(whole, field="cut")
    cost = 9 * INPUT + 120 * OUTPUT_AUDIO

    answers = at_once(
        lambda http, cut: heard(http, SPEECH_BY_TOKEN, cut, stream_format="sse"),
        range(1, len(whole) + 1), threads=8, http=lambda: caller.http,
    )  # fmt: skip
    paid = [answer for answer in answers if answer is not None]
    assert all(answer.startswith(b"".join(DELTAS)) and b"speech.audio.done" in answer for answer in paid)
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).count() == len(whole))
    assert caller.balance() == (CREDIT - len(paid) * cost, 0)
    assert paid


@pytest.mark.parametrize("model", [SPEECH_BY_TOKEN, SPEECH_BY_BOTH])
def test_speech_in_events_is_paid_by_the_tokens_that_are_reported(
    caller: Caller, upstream: FakeUpstream, model: str
) -> None:
    upstream.script = stream_events(*DELTAS, DONE)
    answer = ask(caller, model=model, stream_format="sse")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.content.startswith(b"".join(DELTAS))
    last = json.loads(answer.content.split(b"\n\n")[-2].removeprefix(b"data: "))
    cost = 9 * INPUT + 120 * OUTPUT_AUDIO
    assert last["type"] == "speech.audio.done"
    assert {name: last["usage"][name] for name in USAGE} == USAGE
    assert last["usage"]["cost_toman"] == cost / 10**7
    assert last["usage"]["cost_details"]["output_audio"] == {
        "quantity": 120,
        "toman": 120 * OUTPUT_AUDIO / 10**7,
    }
    record = caller.usage()
    assert (record.billed_by, record.cost_micro) == ("usage", cost)
    assert (record.prompt_tokens, record.completion_tokens) == (9, 120)
    assert_cost_can_be_computed_anew(caller)


def test_sound_without_a_report_is_paid_by_the_character_where_that_has_a_price(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND)
    ask(caller, model=SPEECH_BY_BOTH)
    assert (caller.usage().billed_by, caller.usage().cost_micro) == ("counted", COST)


def test_sound_that_nothing_but_tokens_prices_is_paid_by_estimate(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND)
    ask(caller, model=SPEECH_BY_TOKEN)
    record = caller.usage()
    assert (record.billed_by, record.completion_tokens) == ("estimate", -(-len(TEXT) * 14 // 10))
    assert record.cost_micro > 0
    assert_cost_can_be_computed_anew(caller)


def test_sound_that_is_read_slowly_is_estimated_longer(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = sound(SOUND)
    ask(caller, model=SPEECH_BY_TOKEN, speed=0.25)
    assert upstream.requests[0]["speed"] == 0.25
    assert caller.usage().completion_tokens == math.ceil(len(TEXT) * 14 * 4 / 10)


def test_nothing_but_the_text_that_is_paid_for_is_sent_to_be_read_out(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND)
    others = {"text": "long " * 99, "ssml": "x", "messages": [], "tools": [{"type": "web_search"}], "n": 9}
    ask(caller, instructions="Calmly.", **others)
    assert upstream.requests[0].keys() == {"model", "input", "voice", "instructions"}


def test_instructions_are_read_too_and_paid_for(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = sound(SOUND)
    fields = {"instructions": "آرام " * 10, "instruct": "Calmly.", "Instructions": "long " * 99}
    assert ask(caller, **fields).status_code == 200
    assert upstream.requests[0].keys() == {"model", "input", "voice", "instructions", "instruct"}
    assert caller.usage().quantities == {"character": len(TEXT) + 50 + 7}
    assert caller.balance() == (CREDIT - (len(TEXT) + 57) * CHARACTER, 0)


def test_instructions_make_no_longer_sound(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = sound(SOUND)
    ask(caller, model=SPEECH_BY_TOKEN, instructions="Calmly. " * 50)
    assert caller.usage().completion_tokens == math.ceil(len(TEXT) * 14 / 10)


def test_an_upstream_that_sends_sound_where_events_were_asked_for_is_told_as_that(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND)
    for _ in range(12):  # more than an upstream may fail in a row
        answer = ask(caller, stream_format="sse")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    assert caller.balance() == (CREDIT, 0)
    assert ask(caller).content == SOUND


def test_an_end_without_sound_costs_nothing(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(DONE)
    assert ask(caller, model=SPEECH_BY_TOKEN, stream_format="sse").status_code == 502
    assert caller.balance() == (CREDIT, 0)


def test_an_event_without_sound_is_no_beginning(caller: Caller, upstream: FakeUpstream) -> None:
    strange = event(type="keepalive")
    upstream.script = stream_events(strange, cut=True)
    assert ask(caller, model=SPEECH_BY_TOKEN, stream_format="sse").status_code == 502
    upstream.script = stream_events(strange, *DELTAS, strange, DONE)
    answer = ask(caller, model=SPEECH_BY_TOKEN, stream_format="sse")
    assert answer.content.startswith(strange + b"".join(DELTAS) + strange)
    assert caller.balance() == (CREDIT - 9 * INPUT - 120 * OUTPUT_AUDIO, 0)


def test_an_error_in_the_events_costs_nothing(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(DELTAS[0], event(type="error", error={"message": "Boom."}))
    answer = ask(caller, model=SPEECH_BY_TOKEN, stream_format="sse")
    assert b'"code":"upstream_error"' in answer.content
    assert caller.balance() == (CREDIT, 0)


def test_a_text_that_is_not_covered_is_not_read_out(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    upstream.script = sound(SOUND)
    poor = make_caller(credit_micro=COST - 1)
    assert ask(poor).json()["error"]["code"] == "insufficient_balance"
    assert upstream.requests == []
    assert ask(make_caller(credit_micro=COST)).content == SOUND


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a"]}, "input"),
        ({"input": 7}, "input"),
        ({"response_format": 7}, "response_format"),
        ({"stream_format": "ndjson"}, "stream_format"),
        ({"speed": 0}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"instructions": ["a"]}, "instructions"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_read_out_is_told_by_its_field(
    caller: Caller, upstream: FakeUpstream, fields: dict[str, Any], param: str
) -> None:
    answer = ask(caller, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert upstream.requests == []


def test_a_model_that_does_not_speak_says_which_do(caller: Caller) -> None:
    with pytest.raises(openai.NotFoundError, match=BY_CHARACTER):
        caller.sdk.audio.speech.create(model=MODEL, voice="alloy", input=TEXT)


def test_sound_is_replayed_as_it_was(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = sound(SOUND[:5_000], SOUND[5_000:])
    keeping.keep(user_id=caller.wallet.pk, hours=1)
    asked = {"model": BY_CHARACTER, "input": TEXT, "voice": "alloy"}
    with caller.http as http:
        first, repeat = (
            http.post("/audio/speech", json=asked, headers={"Idempotency-Key": "once"}) for _ in range(2)
        )
    assert (first.status_code, first.content) == (200, SOUND)
    assert (repeat.status_code, repeat.content) == (200, SOUND)
    assert repeat.headers["content-type"] == first.headers["content-type"] == "audio/mpeg"
    assert repeat.headers["idempotent-replayed"] == "true"
    assert caller.balance() == (CREDIT - COST, 0)
