"""What upstreams answer inside a 200, row by row of answers_table.json, and what comes of it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.usage.models import UsageRecord
from tests.fake_upstream import USAGE, FakeUpstream, chunk, respond, stream_events
from tests.live import eventually
from tests.proxy.api.conftest import (
    CREDIT,
    DRAINED_MODEL,
    HELLO,
    TOLD_MODEL,
    Caller,
)

TABLE = json.loads((Path(__file__).parent / "answers_table.json").read_text())
STREAMS = {row["name"]: row["body"].encode() for row in TABLE["streams"]}
WHOLE = {row["name"]: row["body"] for row in TABLE["whole"]}
DONE = b"data: [DONE]\n\n"
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n'
ENDED = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'


def event(**body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def finish(word: str, **delta: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": word}])


def stream(caller: Caller, upstream: FakeUpstream, *parts: bytes | float, **fields: Any) -> httpx.Response:
    upstream.script = stream_events(*parts)
    return caller.ask(model=TOLD_MODEL, stream=True, **fields)


def said(response: httpx.Response) -> list[Any]:
    """The decoded events of a stream that ended as it should."""
    parts = [part for part in response.content.split(b"\n\n") if part]
    assert parts.pop() == b"data: [DONE]"
    return [json.loads(part.removeprefix(b"data: ")) for part in parts if not part.startswith(b":")]


def assert_free(caller: Caller, outcome: str) -> None:
    record = caller.usage()
    assert (record.outcome, record.billed_by, record.cost_micro) == (outcome, "nothing", 0)
    assert caller.balance() == (CREDIT, 0)


def assert_paid(caller: Caller, billed_by: str) -> UsageRecord:
    record = caller.usage()
    assert (record.outcome, record.billed_by, record.uncovered_micro) == ("completed", billed_by, 0)
    assert record.cost_micro > 0
    assert caller.balance() == (CREDIT - record.cost_micro, 0)
    return record


NO_ANSWERS = {
    **{name: STREAMS[name] for name in ("done_alone", "detail", "comment_then_error")},
    "no text, only choices without a choice": event(choices=[]) + DONE,
    "a failure as the first thing": finish("error") + DONE,
    "an error in a choice": event(choices=[{"index": 0, "delta": {}, "error": {"message": "x"}}]) + DONE,
    "an error of words alone": event(error="the engine is gone") + DONE,
    "an event called error without data": b"event: error\n\n" + DONE,
    "an event called error that is no JSON": b"event: error\ndata: overloaded\n\n" + DONE,
    "a detail in a list": event(detail=[{"msg": "engine is dead", "loc": ["body"]}]) + DONE,
    "a type called error": event(type="error", message="overloaded") + DONE,
    "a role and an end": event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]) + DONE,
    "a role and an error": event(choices=[{"index": 0, "delta": {"role": "assistant"}}])
    + event(error="x")
    + DONE,
    "comments and no more": b": a\n\n: b\n\n",
    "pings and no more": event(type="ping") + DONE,
    "vllm's object": event(object="error", message="gone", type="x", code=500) + DONE,
    "503 told": STREAMS["named_error_event"],
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_no_answer_fails_before_the_first_byte(
    caller: Caller, upstream: FakeUpstream, kind: str
) -> None:
    response = stream(caller, upstream, NO_ANSWERS[kind])
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert_free(caller, "upstream_failed")


REFUSALS = {
    "json in place of a stream": (b'{"error": {"message": "too long", "code": 400}}', "too long"),
    "error_object_vllm": (STREAMS["error_object_vllm"], "engine is gone"),
    "inband_400_before_text": (STREAMS["inband_400_before_text"], "tool_use_failed"),
    "a code of digits": (event(error={"message": "too long", "code": "400"}), "too long"),
    "after a role": (
        event(choices=[{"delta": {"role": "assistant"}}]) + STREAMS["error_object_vllm"],
        "engine is gone",
    ),
    "a code beside": (event(error="too long", code=400), "too long"),
    "a named event": (b'event: error\ndata: {"message":"too long","code":400}\n\n', "too long"),
    "a status": (event(error={"message": "too long", "status": 422}), "too long"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_inside_a_200_keeps_its_status_and_its_words(
    caller: Caller, upstream: FakeUpstream, kind: str
) -> None:
    body, words = REFUSALS[kind]
    response = stream(caller, upstream, body)
    assert response.status_code in {400, 422}
    assert response.json()["error"]["message"] == words
    assert_free(caller, "refused")


@pytest.mark.parametrize(
    "told",
    [
        STREAMS["error_object_after_text"].partition(b"\n\n")[2],
        STREAMS["finish_reason_error"].partition(b"\n\n")[2],
        event(detail="engine is dead"),
        b'event: error\ndata: {"message":"overloaded"}\n\n',
        finish("abort"),
        event(choices=[{"index": 0, "delta": {}, "error": {"message": "x", "code": 502}}]),
    ],
)
def test_an_error_after_text_is_an_error_event_and_costs_nothing(
    caller: Caller, upstream: FakeUpstream, told: bytes
) -> None:
    response = stream(caller, upstream, TEXT, told, DONE)
    assert response.status_code == 200
    assert said(response)[-1]["error"]["code"] == "upstream_error"
    assert_free(caller, "upstream_failed")


def test_a_refusal_after_text_is_told_in_its_words_and_costs_nothing(
    caller: Caller, upstream: FakeUpstream
) -> None:
    response = stream(caller, upstream, TEXT, event(error={"message": "too long", "code": 400}))
    assert said(response)[-1]["error"]["message"] == "too long"
    assert_free(caller, "refused")


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
ENDS = {
    "none": (TEXT, "stop"),
    "none after a call": (event(choices=[{"index": 0, "delta": CALL}]), "tool_calls"),
    "a word of its own": (TEXT + finish("eos_token"), "stop"),
    "a word of its own after a call": (event(choices=[{"index": 0, "delta": CALL}]) + finish("end"), "tool_calls"),
    "MAX_TOKENS": (TEXT + finish("MAX_TOKENS"), "length"),
    **{word: (TEXT + finish(word), word) for word in ("stop", "length", "tool_calls", "content_filter")},
}  # fmt: skip


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("asked", [False, True])
def test_every_choice_ends_in_one_of_openais_words(
    caller: Caller, upstream: FakeUpstream, kind: str, asked: bool
) -> None:
    body, word = ENDS[kind]
    options = {"stream_options": {"include_usage": True}} if asked else {}
    response = stream(caller, upstream, body, DONE, **options)
    words = [choice.get("finish_reason") for one in said(response) for choice in one["choices"] if choice]
    assert [one for one in words if one] == [word]
    assert words[-1] == word
    assert [bool(one.get("usage")) for one in said(response)].count(True) == asked
    assert_paid(caller, "estimate")


def test_several_choices_without_an_end_each_get_one(caller: Caller, upstream: FakeUpstream) -> None:
    texts = [event(choices=[{"index": number, "delta": {"content": "a"}}]) for number in (0, 1)]
    response = stream(caller, upstream, *texts, DONE, n=2)
    ends = [one["choices"][0] for one in said(response)[2:]]
    assert [(one["index"], one["finish_reason"]) for one in ends] == [(0, "stop"), (1, "stop")]


@pytest.mark.parametrize("name", ["retry_field", "named_event_without_data", "id", "bom"])
def test_the_official_sdk_reads_an_answer_with_events_without_data(
    caller: Caller, upstream: FakeUpstream, name: str
) -> None:
    body = {**STREAMS, "id": b"id: 7\n\n" + ENDED + DONE, "bom": b"\xef\xbb\xbf" + ENDED + DONE}[name]
    upstream.script = stream_events(body)
    with caller.sdk.chat.completions.create(model=TOLD_MODEL, messages=HELLO, stream=True) as chunks:
        assert "".join(one.choices[0].delta.content or "" for one in chunks) == "a"
    assert_paid(caller, "estimate")


def test_comments_pass_and_names_of_events_do_not(caller: Caller, upstream: FakeUpstream) -> None:
    named = b"event: message\nid: 1\n" + ENDED
    pings = b"event: ping\ndata: {}\n\n" + event(type="ping")
    response = stream(caller, upstream, b": one\n\n", named, b"event: x\n: two\n\n", pings, DONE)
    assert response.content == b": one\n\n" + ENDED + b": two\n\n" + DONE


def test_half_a_surrogate_passes_as_it_came(caller: Caller, upstream: FakeUpstream) -> None:
    body = STREAMS["emoji_split_over_two_chunks"]
    assert stream(caller, upstream, body).content == body
    assert_paid(caller, "estimate")


def test_a_chunk_with_half_a_surrogate_can_be_written_anew(caller: Caller, upstream: FakeUpstream) -> None:
    half = b'data: {"model":"a\\/b","choices":[{"index":0,"delta":{"content":"\\ud83d"}}],"usage":null}\n\n'
    response = stream(caller, upstream, half, STREAMS["emoji_split_over_two_chunks"])
    first = said(response)[0]
    assert (first["model"], first["choices"][0]["delta"]["content"]) == (TOLD_MODEL, "\ud83d")
    assert "usage" not in first


ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
FALSE_REPORTS = {
    "zeros": [chunk({"content": "w" * 200}, finish="stop", usage=ZEROS)],
    "zeros early": [chunk({"content": ""}, usage=ZEROS), chunk({"content": "w" * 200}, finish="stop")],
    "early": [
        chunk({"content": "words "}, usage={"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13}),
        *[chunk({"content": "words "})] * 30,
        chunk({}, finish="stop"),
    ],
    "nothing made": [
        *[chunk({"content": "words "})] * 30,
        chunk({}, finish="stop", usage={"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", FALSE_REPORTS)
def test_a_report_below_what_was_relayed_is_none(caller: Caller, upstream: FakeUpstream, kind: str) -> None:
    options = {"stream_options": {"include_usage": True}}
    response = stream(caller, upstream, *FALSE_REPORTS[kind], DONE, **options)
    record = assert_paid(caller, "estimate")
    assert record.completion_tokens >= 30
    shown = said(response)[-1]["usage"]
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (
        record.prompt_tokens,
        record.completion_tokens,
    )
    assert shown["cost_toman"] == record.cost_micro / 10**7


def test_an_honest_report_is_believed_to_the_token_however_the_text_was_cut(
    caller: Caller, upstream: FakeUpstream
) -> None:
    persian = "این پاسخ حرف به حرف بریده شده است، و گزارش آن درست است. " * 3
    honest = {"prompt_tokens": 12, "completion_tokens": 33, "total_tokens": 45}
    letters = [chunk({"content": letter}) for letter in persian]
    stream(caller, upstream, *letters, chunk({}, finish="stop"), chunk(None, usage=honest), DONE)
    assert assert_paid(caller, "usage").completion_tokens == 33


def leave(caller: Caller, upstream: FakeUpstream, part: bytes, *, model: str = TOLD_MODEL) -> UsageRecord:
    """Reads ten events and goes."""
    parts: list[bytes | float] = [part, 0.02] * 200
    upstream.script = stream_events(*parts)
    body = {"model": model, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        received = b""
        for got in response.iter_raw():
            received += got
            if received.count(b"\n\n") >= 10:
                break
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    record = caller.usage()
    assert record.outcome == "client_left"
    assert caller.balance() == (CREDIT - record.cost_micro, 0)
    return record


def test_somebody_who_left_pays_nothing_for_a_failure_without_text(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(chunk({"role": "assistant", "content": ""}), 1.0, event(error="gone"))
    body = {"model": DRAINED_MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        next(response.iter_raw())
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    assert_free(caller, "upstream_failed")


LEFT = {
    "zeros": (STREAMS["zeros_on_every_chunk_then_client_leaves"], 10),
    "reasoning twice": (STREAMS["same_reasoning_in_two_fields"].replace(b'"T"', b'"think "'), 10),
    "parts": (STREAMS["content_as_list_of_parts"], 10),
    "a report below the text": (
        chunk({"content": "words "}, usage={"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}),
        10,
    ),
}


@pytest.mark.parametrize("kind", LEFT)
def test_somebody_who_leaves_pays_the_larger_of_report_and_estimate(
    caller: Caller, upstream: FakeUpstream, kind: str
) -> None:
    part, least = LEFT[kind]
    record = leave(caller, upstream, part)
    assert record.billed_by == "estimate"
    assert least <= record.completion_tokens <= 100
    assert record.prompt_tokens >= 6


def test_reasoning_under_two_names_is_counted_once(caller: Caller, upstream: FakeUpstream) -> None:
    part = STREAMS["same_reasoning_in_two_fields"].replace(b'"T"', b'"' + b"abcd" * 20 + b'"')
    stream(caller, upstream, part, ENDED, DONE)
    assert assert_paid(caller, "estimate").completion_tokens == 21  # 80 bytes and one


def test_a_larger_report_counts_when_somebody_leaves(caller: Caller, upstream: FakeUpstream) -> None:
    report = {"prompt_tokens": 500, "completion_tokens": 400, "total_tokens": 900}
    record = leave(caller, upstream, chunk({"content": "a "}, usage=report))
    assert (record.billed_by, record.prompt_tokens, record.completion_tokens) == ("usage", 500, 400)


def test_usage_in_a_choice_is_read_and_not_passed_on(caller: Caller, upstream: FakeUpstream) -> None:
    options = {"stream_options": {"include_usage": True}}
    response = stream(caller, upstream, TEXT, STREAMS["usage_in_choice"], **options)
    record = assert_paid(caller, "usage")
    assert (record.prompt_tokens, record.completion_tokens) == (1000, 500)
    assert all("usage" not in choice for one in said(response) for choice in one["choices"])
    assert said(response)[-1]["usage"]["total_tokens"] == 1500


def test_the_last_chunk_keeps_what_upstream_adds_to_it(caller: Caller, upstream: FakeUpstream) -> None:
    extra: dict[str, Any] = {
        "timings": {"predicted_ms": 1.5},
        "service_tier": "default",
        "citations": ["a"],
        "provider": "P",
    }
    last = chunk(None, usage={**USAGE, "cost": 0.25, "cost_details": {"x": 1}}, **extra)
    options = {"stream_options": {"include_usage": True}}
    shown = said(stream(caller, upstream, ENDED, last, DONE, **options))[-1]
    assert {name: shown[name] for name in extra} == extra
    assert shown["model"] == TOLD_MODEL
    assert set(shown["usage"]) == {*USAGE, "cost_toman", "cost_details"}
    assert set(shown["usage"]["cost_details"]) == {"input", "output"}
    assert assert_paid(caller, "usage").upstream_cost_nanodollars == 250_000_000


@pytest.mark.parametrize("name", ["up", "some/vendor:model-7", 'with "quotes" and \\'])
@pytest.mark.parametrize("spaced", [False, True])
def test_the_model_is_the_one_that_was_asked_for_in_every_chunk(
    caller: Caller, upstream: FakeUpstream, name: str, spaced: bool
) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    bodies: list[dict[str, Any]] = [
        {"model": name, "choices": [{"index": 0, "delta": {"content": f'"model":"{name}"'}}]},
        {"model": name, "choices": [{"index": 0, "delta": CALL}]},
        {"model": name + "-other", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"model": name, "choices": [], "usage": USAGE},
    ]
    parts = [b"data: " + json.dumps(body, separators=separators).encode() + b"\n\n" for body in bodies]
    events = said(stream(caller, upstream, *parts, DONE, stream_options={"include_usage": True}))
    assert [one["model"] for one in events] == [TOLD_MODEL] * 4
    assert events[0]["choices"] == bodies[0]["choices"]
    assert events[1]["choices"] == bodies[1]["choices"]


CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}
TOKENS = {
    "prompt_cache_hit_tokens": (1000, 900, 10),
    "cached_tokens_on_top": (1000, 900, 10),
    "total_includes_cached": (1010, 1000, 20),
    "float_tokens": (1000, 0, 10),
    "purchase_price": (1, 0, 1),
}


def whole(caller: Caller, upstream: FakeUpstream, body: Any, **fields: Any) -> httpx.Response:
    if isinstance(body, dict):
        body = {"choices": [CHOICE], "model": "up", **body}
    upstream.script = respond(200, body.encode() if isinstance(body, str) else body)
    return caller.ask(model=TOLD_MODEL, **fields)


@pytest.mark.parametrize("name", TOKENS)
def test_every_form_of_usage_is_read(caller: Caller, upstream: FakeUpstream, name: str) -> None:
    answer = whole(caller, upstream, {**WHOLE[name], "choices": [{**CHOICE, "message": {"content": "Hi"}}]})
    record = caller.usage()
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == TOKENS[name]
    assert record.billed_by == "usage"
    shown = answer.json()["usage"]
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["total_tokens"]) == (
        record.prompt_tokens, record.completion_tokens, record.prompt_tokens + record.completion_tokens,
    )  # fmt: skip
    assert answer.json()["model"] == TOLD_MODEL


def test_a_report_that_contradicts_itself_is_repaired_and_marked(
    caller: Caller, upstream: FakeUpstream
) -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 500}, "completion_tokens_details": "x"}
    answer = whole(caller, upstream, {"usage": usage, "choices": [{**CHOICE, "message": {"content": "Hi"}}]})
    record = assert_paid(caller, "repaired")
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == (12, 12, 9)
    assert answer.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 12}
    metrics = httpx.get(f"{caller.web.url}/metrics", headers={"Authorization": "Bearer scraper"}, timeout=30)
    assert f'hamiran_usage_contradictions_total{{upstream="upstream of {TOLD_MODEL}"}}' in metrics.text


@pytest.mark.parametrize(
    ("huge", "prompt_tokens", "completion_tokens"),
    [("prompt_tokens", 16, 9), ("completion_tokens", 12, 1), ("total_tokens", 12, 1)],
)
def test_what_of_a_report_is_far_beyond_the_request_is_estimated(
    caller: Caller, upstream: FakeUpstream, huge: str, prompt_tokens: int, completion_tokens: int
) -> None:
    choice = {**CHOICE, "message": {"content": "Hi"}}
    whole(caller, upstream, {"usage": {**USAGE, huge: 2**30}, "choices": [choice]})
    record = assert_paid(caller, "estimate")
    assert (record.prompt_tokens, record.completion_tokens) == (prompt_tokens, completion_tokens)


def test_the_operators_price_stays_with_the_operator(caller: Caller, upstream: FakeUpstream) -> None:
    usage = {**WHOLE["purchase_price"]["usage"], "is_byok": False, "estimated_cost": 1}
    choice = {**CHOICE, "message": {"content": "Hi"}}
    answer = whole(caller, upstream, {"usage": usage, "cost": 5, "choices": [choice]})
    assert set(answer.json()) == {"choices", "model", "usage"}
    assert set(answer.json()["usage"]) == {*USAGE, "cost_toman", "cost_details"}
    assert assert_paid(caller, "usage").upstream_cost_nanodollars == 400_000


NO_WHOLE_ANSWERS: dict[str, Any] = {
    "choice_error": WHOLE["choice_error"],
    "finish_reason error": {"choices": [{**CHOICE, "finish_reason": "error"}]},
    "no choice": {"choices": []},
    "an empty choice": {"choices": [{}]},
    "a choice that is none": {"choices": ["x"]},
    "detail": b'{"detail": "engine is dead"}',
    "vllm": b'{"object":"error","message":"gone","code":500}',
    "a list": b"[1]",
    "no json": b"<html>",
}


@pytest.mark.parametrize("kind", NO_WHOLE_ANSWERS)
def test_a_whole_answer_that_is_none_fails(caller: Caller, upstream: FakeUpstream, kind: str) -> None:
    response = whole(caller, upstream, NO_WHOLE_ANSWERS[kind])
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert_free(caller, "upstream_failed")


def test_a_refusal_as_a_whole_answer_keeps_its_status(caller: Caller, upstream: FakeUpstream) -> None:
    response = whole(caller, upstream, b'{"error": {"message": "too long", "code": 400}}')
    assert (response.status_code, response.json()["error"]["message"]) == (400, "too long")
    assert_free(caller, "refused")


def test_a_whole_answer_that_ends_in_half_a_surrogate_is_delivered(
    caller: Caller, upstream: FakeUpstream
) -> None:
    answer = whole(caller, upstream, WHOLE["ends_in_half_a_surrogate"])
    assert answer.json()["choices"][0]["message"]["content"] == "ok \ud83d"
    assert (caller.usage().billed_by, caller.usage().completion_tokens) == ("usage", 2)
    assert answer.json()["usage"]["cost_toman"] == caller.usage().cost_micro / 10**7


@pytest.mark.parametrize(
    ("given", "right"), [(None, "stop"), ("eos", "stop"), ("length", "length"), ("max_tokens", "length")]
)
def test_a_whole_answer_ends_in_one_of_openais_words(
    caller: Caller, upstream: FakeUpstream, given: str | None, right: str
) -> None:
    answer = whole(caller, upstream, {"choices": [{**CHOICE, "finish_reason": given}], "usage": USAGE})
    assert answer.json()["choices"] == [{**CHOICE, "finish_reason": right}]
    assert_paid(caller, "usage")


def test_zeros_beside_a_whole_text_are_no_report(caller: Caller, upstream: FakeUpstream) -> None:
    message = {"role": "assistant", "content": "word " * 40}
    answer = whole(caller, upstream, {"choices": [{**CHOICE, "message": message}], "usage": ZEROS})
    record = assert_paid(caller, "estimate")
    assert record.completion_tokens == 50
    assert answer.json()["usage"]["completion_tokens"] == 50
