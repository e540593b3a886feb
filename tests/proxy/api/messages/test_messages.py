"""POST /v1/messages as its clients meet it, to an upstream that speaks Messages and to one that speaks only chat."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM as CHAT_STREAM
from tests.fake_upstream import USAGE as CHAT_USAGE
from tests.fake_upstream import FakeUpstream, answer_whole, respond, stream_events
from tests.live import eventually
from tests.proxy.api.conftest import CACHED_PRICE, CREDIT, DEAD_MODEL, HELLO, INPUT_PRICE, MODEL, OUTPUT_PRICE
from tests.proxy.api.messages.conftest import NATIVE_MODEL, SHORT_MODEL, SLICED_NATIVE_MODEL, Messenger
from tests.proxy.api.messages.fake_messages import ANSWER, BLOCKS, END, START, STOP, STREAM, event
from tests.proxy.api.messages.read_events import checked, read_events

# 10 beside the cache, 100 from it, 20 to it for an hour.
NATIVE_COST = 10 * INPUT_PRICE + 100 * CACHED_PRICE + 20 * 2_000 + 9 * OUTPUT_PRICE
CHAT_COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
WAYS = pytest.mark.parametrize(
    ("model", "whole", "streamed", "cost"),
    [
        (NATIVE_MODEL, respond(200, ANSWER), stream_events(*STREAM), NATIVE_COST),
        (MODEL, answer_whole(), stream_events(*CHAT_STREAM), CHAT_COST),
    ],
    ids=["native", "translated"],
)


# --- paid for ----------------------------------------------------------------------------------------------------


@WAYS
def test_a_whole_answer_is_paid_for_and_says_so(
    messenger: Messenger, upstream: FakeUpstream, model: str, whole: Any, streamed: Any, cost: int
) -> None:
    upstream.script = whole
    answer = messenger.post(model=model)
    message = answer.json()
    assert (answer.status_code, message["type"], message["role"]) == (200, "message", "assistant")
    assert (message["model"], message["content"]) == (model, [{"type": "text", "text": "Hello!"}])
    assert message["usage"]["cost_toman"] == pytest.approx(cost / 10**7)
    assert float(answer.headers["x-hamiran-cost-toman"]) == pytest.approx(cost / 10**7)
    record = messenger.caller.usage()
    assert (record.endpoint, record.billed_by, record.cost_micro) == ("messages", "usage", cost)
    assert messenger.caller.balance() == (CREDIT - cost, 0)


@WAYS
def test_a_stream_is_paid_for_before_its_last_events(
    messenger: Messenger, upstream: FakeUpstream, model: str, whole: Any, streamed: Any, cost: int
) -> None:
    upstream.script = streamed
    answer = messenger.post(model=model, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    message = checked(answer.content)
    assert message["model"] == model
    assert message["usage"]["cost_toman"] == pytest.approx(cost / 10**7)
    assert upstream.requests[0]["stream"] is True
    record = messenger.caller.usage()
    assert (record.endpoint, record.billed_by, record.cost_micro) == ("messages", "usage", cost)


@WAYS
@pytest.mark.parametrize("streams", [True, False])
def test_what_is_billed_adds_up(
    messenger: Messenger,
    upstream: FakeUpstream,
    model: str,
    whole: Any,
    streamed: Any,
    cost: int,
    streams: bool,
) -> None:
    upstream.script = streamed if streams else whole
    answer = messenger.post(model=model, stream=streams)
    usage = (checked(answer.content) if streams else answer.json())["usage"]
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert sum(usage[name] for name in parts) == messenger.caller.usage().prompt_tokens
    details = usage["cost_details"].values()
    assert sum(item["toman"] for item in details) == pytest.approx(usage["cost_toman"])


@pytest.mark.parametrize("at", range(0, len(b"".join(STREAM)), 97))
def test_a_native_stream_that_breaks_off_costs_nothing(
    messenger: Messenger, upstream: FakeUpstream, at: int
) -> None:
    upstream.script = stream_events(b"".join(STREAM)[:at] or b": none\n\n", cut=True)
    answer = messenger.post(model=NATIVE_MODEL, stream=True)
    if answer.status_code == 200:
        assert read_events(answer.content)[-1]["error"]["code"] == "upstream_error"
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert messenger.caller.balance() == (CREDIT, 0)


@pytest.mark.parametrize("model", [NATIVE_MODEL, MODEL])
def test_a_client_that_leaves_pays_for_what_was_made(
    messenger: Messenger, upstream: FakeUpstream, model: str
) -> None:
    held = threading.Event()
    came = [START, BLOCKS] if model == NATIVE_MODEL else CHAT_STREAM[:3]
    upstream.script = stream_events(*came, held, *came)
    body = {"model": model, "max_tokens": 50, "messages": HELLO, "stream": True}
    url = f"{messenger.caller.web.url}/v1/messages"
    with httpx.stream(
        "POST", url, json=body, headers={"x-api-key": messenger.caller.key}, timeout=30
    ) as answer:
        next(answer.iter_bytes())
    held.set()
    eventually(lambda: UsageRecord.objects.filter(key_id=messenger.caller.key_id).exists())
    record = messenger.caller.usage()
    assert record.outcome == "client_left"
    if model == NATIVE_MODEL:  # the cache is known from the first event on
        assert (record.prompt_tokens, record.cached_tokens) == (130, 100)
    assert record.cost_micro > 0


def test_a_native_stream_is_held_for_in_slices(messenger: Messenger, upstream: FakeUpstream) -> None:
    text = "word " * 100
    blocks = [
        event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        *(
            event(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": text[at : at + 10]},
                }
            )
            for at in range(0, len(text), 10)
        ),
        event({"type": "content_block_stop", "index": 0}),
    ]
    end = event(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 101}}
    )
    upstream.script = stream_events(START, *blocks, end, STOP)
    answer = messenger.post(model=SLICED_NATIVE_MODEL, stream=True, max_tokens=10_000)
    assert checked(answer.content)["content"] == [{"type": "text", "text": text}]
    assert messenger.caller.usage().completion_tokens == 101


# --- what upstream is sent ---------------------------------------------------------------------------------------


def test_a_native_body_goes_out_as_it_was_written(messenger: Messenger, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, ANSWER)
    body = {
        "model": NATIVE_MODEL,
        "max_tokens": 128_000,
        "system": [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        ],
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}],
            },
            {"role": "system", "content": "Now."},
            *HELLO,
        ],
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "metadata": {"user_id": '{"session_id":"1"}'},
        "unheard_of": {"a": [1.50, None]},
        "service_tier": "auto",
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }
    headers = {"anthropic-beta": "a-1,b-2", "anthropic-version": "2026-10-21"}
    answer = messenger.post_raw(body, "?beta=true", headers)
    assert answer.status_code == 200
    sent = upstream.requests[0]
    left = {name: value for name, value in body.items() if name not in {"service_tier", "tools"}}
    assert sent == {**left, "model": "up-model", "max_tokens": 1_000}
    assert list(sent) == list(left)
    assert answer.headers["x-hamiran-left-out"] == "service_tier, tools.web_search_20250305"
    passed = upstream.headers[0]
    assert (passed["anthropic-beta"], passed["anthropic-version"]) == ("a-1,b-2", "2026-10-21")
    assert passed["x-api-key"] == "sk-upstream-secret"


@pytest.mark.parametrize("value", ["é", "a\tb", "x" * 4_000])
@pytest.mark.parametrize("path", ["", "/count_tokens"])
def test_a_header_that_cannot_be_sent_on_is_not(
    messenger: Messenger, upstream: FakeUpstream, value: str, path: str
) -> None:
    upstream.script = respond(200, {**ANSWER, "input_tokens": 3})
    headers = {"anthropic-beta": value.encode("latin-1"), "anthropic-version": value.encode("latin-1")}
    answer = messenger.post(path, model=NATIVE_MODEL, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, "x-hamiran-estimated" in answer.headers) == (200, False)
    assert "anthropic-beta" not in upstream.headers[0]
    assert upstream.headers[0]["anthropic-version"] == "2023-06-01"


def test_a_translated_body_is_a_chat(messenger: Messenger, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*CHAT_STREAM)
    answer = messenger.post(
        system="Be brief.", thinking={"type": "adaptive"}, stream=True, headers={"anthropic-beta": "a-1"}
    )
    assert answer.headers["x-hamiran-left-out"] == "thinking, anthropic-beta"
    assert upstream.requests[0] == {
        "model": "up-model",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "anthropic-beta" not in upstream.headers[0]


def test_a_limit_beyond_the_model_is_lowered_to_it(messenger: Messenger, upstream: FakeUpstream) -> None:
    messenger.post(max_tokens=128_000)
    assert upstream.requests[0]["max_tokens"] == 1_000


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": ...}, "model_required", "model"),
        ({"model": 5}, "model_required", "model"),
        ({"messages": ...}, "messages_required", "messages"),
        ({"messages": []}, "messages_required", "messages"),
        ({"messages": "Hi"}, "messages_required", "messages"),
        ({"max_tokens": ...}, "invalid_value", "max_tokens"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"max_tokens": "5"}, "invalid_value", "max_tokens"),
        ({"max_tokens": True}, "invalid_value", "max_tokens"),
        ({"stream": "yes"}, "invalid_value", "stream"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_messages", "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid_messages", "messages[0]"),
        ({"system": 5}, "invalid_value", "system"),
    ],
)
@pytest.mark.parametrize("model", [NATIVE_MODEL, MODEL])
def test_what_is_no_request_is_refused_by_its_field(
    messenger: Messenger, upstream: FakeUpstream, model: str, fields: dict[str, Any], code: str, param: str
) -> None:
    answer = messenger.post(**{"model": model, **fields})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.requests == []
    assert messenger.caller.balance() == (CREDIT, 0)


def test_errors_have_anthropics_shape_with_our_code(messenger: Messenger) -> None:
    answer = messenger.post(model="unheard-of")
    assert answer.status_code == 404
    assert answer.json() == {
        "type": "error",
        "error": {
            "type": "not_found_error",
            "message": "The requested model is not available.",
            "code": "model_not_found",
            "param": "model",
            "solution": "Name one of the models on sale.",
            "docs": f"{messenger.caller.web.url}/docs/#error-model_not_found",
        },
        "request_id": answer.headers["request-id"],
    }
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":"native","messages":[1e999]}'])
def test_what_is_no_json_is_refused_in_the_same_shape(messenger: Messenger, body: bytes) -> None:
    answer = messenger.post_raw(body)
    assert (answer.status_code, answer.json()["type"]) == (400, "error")
    assert answer.json()["error"]["code"] == "invalid_json"


def test_without_a_key_nobody_is_asked_to_try_again(messenger: Messenger) -> None:
    answer = messenger.post(headers={"x-api-key": ""})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert answer.headers["x-should-retry"] == "false"


def test_an_empty_wallet_is_told_once(
    make_messenger: Callable[..., Messenger], upstream: FakeUpstream
) -> None:
    answer = make_messenger(credit_micro=1).post()
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (
        402,
        "billing_error",
        "insufficient_balance",
    )
    assert error["required_toman"] > error["available_toman"]
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_other_methods_are_refused_in_the_same_shape(messenger: Messenger, method: str, path: str) -> None:
    answer = httpx.request(method, f"{messenger.caller.web.url}{path}", timeout=30)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert "request-id" in answer.headers
    if method != "HEAD":
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_limits_stand_in_anthropics_headers(make_messenger: Callable[..., Messenger]) -> None:
    messenger = make_messenger(rpm=1, tpm=100_000)
    headers = messenger.post().headers
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-tokens-limit"] == "100000"
    rfc_3339 = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rfc_3339, headers["anthropic-ratelimit-requests-reset"])
    assert re.fullmatch(rfc_3339, headers["anthropic-ratelimit-tokens-reset"])
    refused = messenger.post()
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers


def test_a_request_beyond_the_limit_of_tokens_is_told_in_our_words_and_once(
    make_messenger: Callable[..., Messenger], upstream: FakeUpstream
) -> None:
    answer = make_messenger(tpm=500).post(messages=[{"role": "user", "content": "word " * 1_000}])
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (429, "rate_limit_error")
    assert error["code"] == "request_exceeds_limit"
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.requests == []


def test_what_an_upstream_says_of_the_request_is_told(messenger: Messenger, upstream: FakeUpstream) -> None:
    error = {"type": "invalid_request_error", "message": "max_tokens: 900 > 512"}
    upstream.script = respond(400, {"type": "error", "error": error})
    answer = messenger.post(model=NATIVE_MODEL)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "max_tokens: 900 > 512"


def test_a_full_context_is_told_in_words_that_make_agents_shorten_it(
    messenger: Messenger, upstream: FakeUpstream
) -> None:
    answer = messenger.post(model=SHORT_MODEL, messages=[{"role": "user", "content": "word " * 20_000}])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["message"].startswith("prompt is too long: ")
    upstream.script = respond(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
    assert messenger.post().json()["error"]["message"] == "prompt is too long: too long"


@pytest.mark.parametrize("model", [NATIVE_MODEL, MODEL])
def test_an_upstream_that_is_overloaded_is_an_error_of_ours(
    messenger: Messenger, upstream: FakeUpstream, model: str
) -> None:
    upstream.script = respond(529, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}})
    answer = messenger.post(model=model)
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
    assert answer.json()["error"]["code"] == "upstream_error"


def test_a_failure_after_the_first_event_is_an_error_event(
    messenger: Messenger, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*CHAT_STREAM[:3], b'data: {"error":{"message":"gone"}}\n\n')
    answer = messenger.post(stream=True)
    assert answer.status_code == 200
    error = read_events(answer.content)[-1]
    assert (error["type"], error["error"]["type"], error["error"]["code"]) == (
        "error",
        "api_error",
        "upstream_error",
    )
    assert error["request_id"] == answer.headers["request-id"]
    assert messenger.caller.balance() == (CREDIT, 0)


def test_an_upstream_that_is_away_is_told_before_the_stream_begins(messenger: Messenger) -> None:
    answer = messenger.post(model=DEAD_MODEL, stream=True)
    assert (answer.status_code, answer.json()["type"]) == (502, "error")


def test_images_for_a_model_without_eyes_are_refused_by_their_field(messenger: Messenger) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "?"}, image]}]
    error = messenger.post(model=SHORT_MODEL, messages=asked).json()["error"]
    assert (error["code"], error["param"]) == ("input_not_supported", "messages[0].content[1]")
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    error = messenger.post(model=SHORT_MODEL, messages=[{"role": "user", "content": [nested]}]).json()[
        "error"
    ]
    assert (error["code"], error["param"]) == ("input_not_supported", "messages[0].content[0]")


def test_an_estimate_is_billed_where_an_upstream_reports_nothing(
    messenger: Messenger, upstream: FakeUpstream
) -> None:
    silent = [{**ANSWER, "usage": None}, {name: value for name, value in ANSWER.items() if name != "usage"}]
    for answer in silent:
        upstream.script = respond(200, answer)
        usage = messenger.post(model=NATIVE_MODEL).json()["usage"]
        assert usage["input_tokens"] > 0
    records = UsageRecord.objects.filter(key_id=messenger.caller.key_id)
    assert {record.billed_by for record in records} == {"estimate"}


def test_usage_of_a_chat_with_cached_tokens_excludes_them(
    messenger: Messenger, upstream: FakeUpstream
) -> None:
    usage = {**CHAT_USAGE, "prompt_tokens_details": {"cached_tokens": 8}}
    upstream.script = answer_whole(usage=usage)
    told = messenger.post().json()["usage"]
    assert (told["input_tokens"], told["cache_read_input_tokens"], told["output_tokens"]) == (4, 8, 9)


def test_upstreams_that_are_named_otherwise_stay_unnamed(
    messenger: Messenger, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM)
    assert "up-model" not in messenger.post(model=NATIVE_MODEL, stream=True).text
    upstream.script = respond(200, ANSWER)
    assert "up-model" not in json.dumps(messenger.post(model=NATIVE_MODEL).json())


def test_a_stream_that_ends_without_its_last_event_is_whole(
    messenger: Messenger, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(START, BLOCKS, END)
    assert checked(messenger.post(model=NATIVE_MODEL, stream=True).content)["stop_reason"] == "tool_use"
    assert messenger.caller.usage().cost_micro == NATIVE_COST
