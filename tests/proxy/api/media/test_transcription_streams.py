"""POST /v1/audio/transcriptions with `stream`: text as it is found, paid before its last event."""

import json
from typing import Any

import httpx
import pytest
from openai.types.audio import TranscriptionStreamEvent
from pydantic import TypeAdapter

from proxy.api.audio.transcriptions import TOKENS_PER_SECOND
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, Script, respond, stream_events
from tests.live import at_once, eventually
from tests.proxy.api.conftest import CREDIT, Caller
from tests.proxy.api.media.conftest import (
    BY_SECOND,
    INPUT,
    INPUT_AUDIO,
    OUTPUT,
    SOUND_BY_TOKEN,
    assert_cost_can_be_computed_anew,
    cutting,
    event,
    raw,
)
from tests.proxy.api.media.test_transcriptions import COST, SOUND, TEXT, USAGE, ask

DELTAS = [event(type="transcript.text.delta", delta=part, x_cost=1) for part in ("سلام", " دنیا")]
DONE = event(type="transcript.text.done", text=TEXT, usage=USAGE)
WITHOUT_USAGE = event(type="transcript.text.done", text=TEXT)
valid = TypeAdapter(TranscriptionStreamEvent).validate_python


def hear(caller: Caller, **fields: Any) -> httpx.Response:
    return ask(caller, stream="true", **fields)


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    """Its events, each of which the SDK's own types take."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    every = answer.content.split(b"\n\n")
    assert every.pop() == b""
    events: list[dict[str, Any]] = [json.loads(one.removeprefix(b"data: ")) for one in every]
    for one in events:
        valid(one, strict=True)
    return events


def test_text_arrives_as_it_is_found_and_is_paid_by_the_second(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*DELTAS, WITHOUT_USAGE)
    events = caller.sdk.audio.transcriptions.create(
        model=BY_SECOND, file=("a.wav", SOUND), stream=True, language="fa"
    )
    *deltas, done = events
    assert [delta.to_dict()["delta"] for delta in deltas] == ["سلام", " دنیا"]
    last: dict[str, Any] = done.to_dict()
    assert (last["text"], last["usage"]["seconds"]) == (TEXT, 3)
    assert last["usage"]["cost_toman"] == COST / 10**7
    sent = upstream.requests[0]
    assert (sent["model"], sent["stream"], sent["language"]) == ("up-model", "true", "fa")
    record = caller.usage()
    assert (record.stream, record.billed_by, record.quantities) == (True, "counted", {"audio_second": 3})
    assert caller.balance() == (CREDIT - COST, 0)
    assert_cost_can_be_computed_anew(caller)


def test_events_are_those_of_the_sdk_and_say_nothing_of_the_purchase(
    caller: Caller, upstream: FakeUpstream
) -> None:
    segment = event(
        type="transcript.text.segment", id="s", start=0.0, end=2.5, speaker="A", text=TEXT, model="up-model"
    )
    upstream.script = stream_events(*DELTAS, segment, DONE)
    answer = hear(caller, response_format="diarized_json")
    events = told(answer)
    assert [one["type"].rpartition(".")[2] for one in events] == ["delta", "delta", "segment", "done"]
    assert events[2]["model"] == BY_SECOND
    assert b"x_cost" not in answer.content


def test_reported_tokens_are_paid_where_the_list_prices_them(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*DELTAS, DONE)
    [*_deltas, done] = told(hear(caller, model=SOUND_BY_TOKEN))
    assert USAGE.items() <= done["usage"].items()
    record = caller.usage()
    assert (record.billed_by, record.prompt_tokens, record.completion_tokens) == ("usage", 30, 6)
    assert record.cost_micro == 5 * INPUT + 25 * INPUT_AUDIO + 6 * OUTPUT


def test_tokens_that_nobody_reports_are_estimated_by_the_text(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*DELTAS, WITHOUT_USAGE)
    hear(caller, model=SOUND_BY_TOKEN)
    record = caller.usage()
    assert record.billed_by == "estimate"
    assert record.prompt_tokens >= 3 * TOKENS_PER_SECOND
    assert 2 <= record.completion_tokens <= len(TEXT.encode())


def test_a_silence_has_no_text(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(event(type="transcript.text.done", text=""))
    assert [one["text"] for one in told(hear(caller))] == [""]
    assert caller.usage().cost_micro == COST


@pytest.mark.parametrize(
    "script",
    [
        respond(200, {"text": TEXT}),
        respond(200, TEXT.encode(), content_type="text/plain"),
        stream_events(event(object="transcription.chunk", choices=[{"delta": {"content": TEXT}}])),
    ],
)
def test_an_upstream_that_answers_in_another_way_is_told_as_that(
    caller: Caller, upstream: FakeUpstream, script: Script
) -> None:
    upstream.script = script
    answer = hear(caller)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    assert answer.json()["error"]["message"].startswith("This model does not answer in events.")
    assert caller.usage().outcome == "refused"
    assert caller.balance() == (CREDIT, 0)


def test_an_error_in_the_events_costs_nothing(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(event(error={"message": "Too noisy.", "status": 400}))
    assert hear(caller).json()["error"]["message"] == "Too noisy."
    upstream.script = stream_events(DELTAS[0], event(type="error", message="Boom."))
    assert b'"upstream_error"' in hear(caller).content
    assert caller.balance() == (CREDIT, 0)


def test_a_client_that_leaves_pays_for_the_sound(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(DELTAS[0], 30.0, DONE)
    files = {"file": ("voice.wav", SOUND, "audio/wav")}
    with (
        caller.http as http,
        http.stream(
            "POST", "/audio/transcriptions", data={"model": BY_SECOND, "stream": "true"}, files=files
        ) as answer,
    ):
        assert next(answer.iter_raw())
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).exists())
    record = caller.usage()
    assert (record.outcome, record.cost_micro) == ("client_left", COST)
    eventually(lambda: caller.balance() == (CREDIT - COST, 0))


@pytest.mark.proof
def test_a_stream_may_break_at_every_byte(caller: Caller, upstream: FakeUpstream) -> None:
    whole = raw(stream_events(*DELTAS, WITHOUT_USAGE))
    upstream.script = cutting(whole, field="language")

    def heard(http: httpx.Client, cut: int) -> bool:
        answer = http.post(
            "/audio/transcriptions",
            data={"model": BY_SECOND, "stream": "true", "language": str(cut)},
            files={"file": ("voice.wav", SOUND, "audio/wav")},
        )
        return answer.status_code == 200 and b"transcript.text.done" in answer.content

    answers = at_once(heard, range(1, len(whole) + 1), threads=8, http=lambda: caller.http)
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id).count() == len(answers))
    assert 0 < sum(answers) < len(answers)
    assert caller.balance() == (CREDIT - sum(answers) * COST, 0)
