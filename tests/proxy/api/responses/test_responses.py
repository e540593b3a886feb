"""POST /v1/responses as clients meet it: of an upstream that speaks it, and of one that speaks chat."""

import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.fake_upstream import FakeUpstream, answer_whole, chunk, respond, stream_events
from tests.proxy.api.conftest import CACHED_PRICE, INPUT_PRICE, MODEL, OUTPUT_PRICE, Caller
from tests.proxy.api.responses.conftest import ask, events_of
from tests.proxy.api.responses.upstream import (
    BODY,
    END,
    HEAD,
    STREAM,
    WHOLE,
    call_chunk,
    chat_stream,
    event,
    response,
)

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
NATIVE_COST = 8 * INPUT_PRICE + 4 * CACHED_PRICE + 9 * OUTPUT_PRICE
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    "strict": False,
}


def test_a_whole_answer_of_a_chat_comes_as_a_response(
    caller: Caller, sdk: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.script = answer_whole()
    said = sdk.responses.create(model=MODEL, input="Hello!", instructions="Be kind.")
    assert said.output_text == "Hello!"
    assert said.model == MODEL
    assert said.status == "completed"
    assert said.usage is not None
    assert (said.usage.input_tokens, said.usage.output_tokens) == (12, 9)
    assert upstream.requests[0]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello!"},
    ]
    assert caller.usage().cost_micro == COST
    assert caller.usage().endpoint == "responses"


def test_a_streamed_answer_of_a_chat_comes_as_events(
    caller: Caller, sdk: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*chat_stream(chunk({"content": "Hel"}), chunk({"content": "lo!"})))
    with sdk.responses.stream(model=MODEL, input="Hello!") as stream:
        kinds = [one.type for one in stream]
        final = stream.get_final_response()
    assert final.output_text == "Hello!"
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert upstream.requests[0]["stream_options"] == {"include_usage": True}
    assert caller.usage().cost_micro == COST


def test_a_whole_answer_of_its_own_kind_passes_but_for_name_and_bill(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, {**WHOLE, "billing": {"payer": "developer"}, "cost": 3, "new": [1]})
    said = ask(caller, native_model).json()
    usage = said.pop("usage")
    expected = {**WHOLE, "model": native_model, "new": [1]}
    expected.pop("usage")
    assert said == expected
    assert usage["cost_toman"] == pytest.approx(NATIVE_COST / 10**7)
    assert usage["input_tokens_details"] == {"cached_tokens": 4, "cache_write_tokens": 0}
    assert upstream.requests == [
        {"model": "up-model", "input": "Hello!", "store": False, "max_output_tokens": 1000}
    ]
    assert caller.usage().cost_micro == NATIVE_COST


def test_a_stream_of_its_own_kind_passes_event_by_event(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM)
    answer = ask(caller, native_model, stream=True)
    renamed = [
        event.replace(b'"model": "up-model"', b'"model":"%b"' % native_model.encode()) for event in HEAD
    ]
    relayed = answer.content.split(b"\n\n")
    for sent, came in zip([*renamed, *BODY], relayed, strict=False):
        assert json.loads(sent.split(b"data: ")[1]) == json.loads(came.split(b"data: ")[1])
    assert b"".join(BODY) in answer.content
    last = events_of(answer.content)[-1]
    assert last["response"]["usage"]["cost_toman"] == pytest.approx(NATIVE_COST / 10**7)
    assert last["response"]["model"] == native_model
    assert b"up-model" not in answer.content
    assert caller.usage().cost_micro == NATIVE_COST


def test_an_empty_wallet_is_told_as_agents_stop_at(make_caller: Any, upstream: FakeUpstream) -> None:
    answer = ask(make_caller(credit_micro=1))
    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_balance")
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_what_is_kept_nowhere_is_refused_by_its_name(caller: Caller, name: str) -> None:
    fields: dict[str, Any] = {name: "resp_1"}
    answer = ask(caller, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name
    assert ask(caller, **{**fields, name: None}).status_code == 200


def test_what_an_upstream_is_not_sent_is_named(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    fields: dict[str, Any] = {
        "tools": [{"type": "web_search"}, TOOL],
        "service_tier": "priority",
        "client_metadata": {"a": "b"},
        "truncation": "auto",
    }
    answer = ask(caller, **fields)
    assert (
        answer.headers["x-hamiran-left-out"] == "service_tier, client_metadata, truncation, tools.web_search"
    )
    upstream.script = respond(200, WHOLE)
    answer = ask(caller, native_model, **fields)
    assert answer.headers["x-hamiran-left-out"] == "service_tier, tools.web_search"
    sent = upstream.requests[-1]
    assert sent["tools"] == [TOOL]
    assert sent["client_metadata"] == {"a": "b"}
    assert sent["truncation"] == "auto"
    assert "service_tier" not in sent


def test_tools_are_called_and_answered(sdk: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(
        *chat_stream(
            call_chunk(0, call_id="call_0", name="look"),
            call_chunk(0, arguments='{"at":'),
            call_chunk(0, arguments='"it"}'),
            finish="tool_calls",
        )
    )
    with sdk.responses.stream(model=MODEL, input="Hello!", tools=[TOOL]) as stream:  # type: ignore[list-item]
        final = stream.get_final_response()
    [call] = final.output
    assert call.type == "function_call"
    assert (call.name, call.arguments, call.call_id) == ("look", '{"at":"it"}', "call_0")
    upstream.script = answer_whole()
    items: list[Any] = [
        {"role": "user", "content": "Hello!"},
        call.model_dump(exclude_none=True, exclude={"parsed_arguments"}),
        {"type": "function_call_output", "call_id": "call_0", "output": "seen"},
    ]
    assert sdk.responses.create(model=MODEL, input=items).output_text == "Hello!"
    assert upstream.requests[-1]["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "seen"},
    ]


def test_a_structured_answer_is_asked_for_and_read(sdk: openai.OpenAI, upstream: FakeUpstream) -> None:
    class City(BaseModel):
        name: str

    upstream.script = answer_whole('{"name":"Shiraz"}')
    said = sdk.responses.parse(model=MODEL, input="Hello!", text_format=City)
    assert said.output_parsed == City(name="Shiraz")
    asked = upstream.requests[0]["response_format"]
    assert asked["type"] == "json_schema"
    assert (asked["json_schema"]["name"], asked["json_schema"]["strict"]) == ("City", True)


def test_a_failure_before_the_first_byte_has_its_status(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    error = {"code": "context_length_exceeded", "message": "Too long."}
    failed = event("response.failed", response=response("failed", error=error), sequence_number=2)
    upstream.script = stream_events(*HEAD, failed)
    answer = ask(caller, native_model, stream=True)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (
        "context_length_exceeded",
        "input",
    )
    upstream.script = respond(500, b"")
    answer = ask(caller, native_model)
    assert (answer.status_code, answer.headers["retry-after"]) == (502, "5")


@pytest.mark.parametrize("streams", [True, False])
def test_a_failure_behind_the_first_byte_is_a_failed_response(
    caller: Caller, native_model: str, upstream: FakeUpstream, streams: bool
) -> None:
    upstream.script = stream_events(*(STREAM[:5] if streams else [chunk({"content": "Hel"})]), cut=True)
    answer = ask(caller, native_model if streams else MODEL, stream=True)
    events = events_of_failed(answer)
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert caller.usage().cost_micro == 0


def events_of_failed(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(each.split(b"data: ")[1]) for each in answer.content.split(b"\n\n") if each]


def test_a_conversation_of_whole_items_goes_on(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, WHOLE)
    items: list[Any] = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {"role": "user", "content": "Hello!"},
    ]
    answer = ask(caller, native_model, input=items, include=["reasoning.encrypted_content"])
    assert answer.headers["x-hamiran-left-out"] == "input.reasoning"
    assert upstream.requests[0]["input"] == [items[0], items[2]]
    assert upstream.requests[0]["include"] == ["reasoning.encrypted_content"]
    error = ask(caller, native_model, input=[{"type": "item_reference", "id": "msg_1"}]).json()["error"]
    assert error["param"] == "input[0]"


def test_a_stream_is_cut_at_what_is_paid_for(
    caller: Caller, native_model: str, upstream: FakeUpstream
) -> None:
    words = [part.replace(b"Hel", b"Hel" * 4000) for part in STREAM[:7]]
    upstream.script = stream_events(*words, END)
    events = events_of(ask(caller, native_model, stream=True, max_output_tokens=20).content)
    last = events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["usage"]["output_tokens"] <= 20


def test_cursor_posts_its_responses_to_the_chat(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = answer_whole()
    with caller.http as http:
        body = {
            "model": MODEL,
            "input": [{"role": "user", "content": "Hello!"}],
            "tools": [TOOL],
            "store": False,
        }
        said = http.post("/chat/completions", json=body)
    assert said.json()["choices"][0]["message"]["content"] == "Hello!"
    assert upstream.requests[0]["messages"] == [{"role": "user", "content": "Hello!"}]
    assert upstream.requests[0]["tools"][0]["function"]["name"] == "look"
    assert caller.usage().endpoint == "chat"


def test_the_sdk_reads_errors(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="nobody", input="x")
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=MODEL, input=[])
    assert caught.value.param == "input"
