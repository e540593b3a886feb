"""Whatever a client writes or an upstream answers, at every endpoint: an error of ours, or an answer."""

import contextlib
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.audio import speech
from proxy.api.chat_completions import request as chat
from proxy.api.completions import request as completions
from proxy.api.embeddings import request as embeddings
from proxy.api.images import generations
from proxy.api.messages import request as messages
from proxy.api.moderations import request as moderations
from proxy.api.responses import request as responses
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.served import ServedRoute
from proxy.errors import APIError
from proxy.http.parsing import JSONObjectParser, Payload
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer, MeteredRequest
from tests.proxy.factories import served_model, served_route

BILL = Bill(Usage(12, 9, 4), PriceQuote(1_000, 3_000), 39_000)


@dataclass(frozen=True, slots=True)
class Asked:
    """An endpoint: how its bodies are read, its routes, a body that it takes, and an answer that it passes on."""

    read: Callable[[Payload], MeteredRequest]
    routes: tuple[ServedRoute, ...]
    body: dict[str, Any]
    answer: dict[str, Any]


def route(protocol: str) -> ServedRoute:
    return served_route(1, protocols=frozenset({protocol}))


def read_messages(payload: Payload, *, protocol: str) -> MeteredRequest:
    messages.required_model(payload)
    model = served_model(routes=(route(protocol),), max_output_tokens=100)
    request = messages.read_request(payload, model=model, headers={}, request_id="r")
    request.served_by(model)
    return request


def read_responses(payload: Payload) -> MeteredRequest:
    responses.required_model(payload)
    return responses.read_request(payload, model="m")


def read_chat(payload: Payload) -> MeteredRequest:
    chat.required_model(payload)
    return chat.read_request(payload, model="m")


HELLO = [{"role": "user", "content": "Hello!"}]
SAID = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
IMAGE = {"type": "image_generation.completed", "b64_json": "aGk=", "size": "1024x1024"}
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
RESPONSE = {"object": "response", "status": "completed", "output": []}
ENDPOINTS = {
    "chat": Asked(read_chat, (route("chat"),), {"messages": HELLO}, SAID),
    "completions": Asked(
        functools.partial(completions.read_request, model="m"),
        (route("completions"),),
        {"prompt": "Hel", "echo": True},
        {"choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}]},
    ),
    "embeddings": Asked(
        functools.partial(embeddings.read_request, model="m"),
        (route("embeddings"),),
        {"input": "Hello!"},
        {"data": [{"embedding": [1.5]}]},
    ),
    "moderations": Asked(
        functools.partial(moderations.read_request, model="m"),
        (route("moderations"),),
        {"input": "Hello!"},
        {"results": [{"flagged": False}]},
    ),
    "images": Asked(
        functools.partial(generations.read_request, model="m"),
        (route("images"),),
        {"prompt": "A cat"},
        {"data": [IMAGE]},
    ),
    "speech": Asked(
        functools.partial(speech.read_request, model="m"),
        (route("speech"),),
        {"input": "Hello!", "stream_format": "sse"},
        {},
    ),
    "messages": Asked(
        functools.partial(read_messages, protocol="messages"),
        (route("messages"),),
        {"messages": HELLO, "max_tokens": 9},
        MESSAGE,
    ),
    "messages over chat": Asked(
        functools.partial(read_messages, protocol="chat"),
        (route("chat"),),
        {"messages": HELLO, "max_tokens": 9},
        SAID,
    ),
    "responses": Asked(
        read_responses, (route("responses"), route("chat")), {"input": "Hello!"}, {**RESPONSE, **SAID}
    ),
}
NAMES = st.sampled_from(
    [
        "type", "role", "content", "text", "name", "input", "output", "tools", "id", "tool_use_id", "source", "data",
        "media_type", "url", "image_url", "title", "schema", "format", "function", "arguments", "parameters", "index",
        "b64_json", "size", "quality", "usage", "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens",
        "output_tokens", "input_tokens_details", "cache_creation", "error", "message", "delta", "choices", "edits",
        "tool_calls", "finish_reason", "stop_reason", "content_block", "reasoning_content", "results", "embedding",
        "description", "is_error", "disable_parallel_tool_use", "signature", "thinking", "refusal", "model", "audio",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "text", "image", "document", "tool_use", "tool_result", "thinking", "tool_reference", "search_result", "user",
        "assistant", "system", "auto", "any", "tool", "base64", "url", "json_schema", "custom", "function",
        "web_search", "image_url", "message", "message_start", "message_delta", "message_stop", "length",
        "content_block_start", "content_block_delta", "content_block_stop", "text_delta", "error", "",
        "image_generation.completed", "speech.audio.delta", "speech.audio.done", "1024x1024", "b64", "\x00", "سلام",
    ]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-2, 2**64 - 1) | st.floats(-1e300, 1e300) | WORDS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "messages", "system", "tools", "tool_choice", "stop_sequences", "output_config", "output_format", "thinking",
        "context_management", "metadata", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n",
        "prompt", "echo", "suffix", "logprobs", "input", "instructions", "dimensions", "encoding_format", "voice",
        "response_format", "stream_format", "speed", "size", "quality", "output_format", "background", "user",
        "temperature", "top_p", "stop", "model", "mcp_servers", "text", "reasoning", "functions", "width",
    ]
)  # fmt: skip
# What no value of this language could be, is too large for any number, or stands where an object would.
STRANGE = st.sampled_from(
    [
        "1e999", "-1e999", "1" * 400, "1.5e308", '"\\ud800"', '"\\u0000"', "[" * 100 + "]" * 100,
        '{"a":' * 100 + "1" + "}" * 100, "[]", "{}", '""', "[[]]", "[null]", '[{"type":[]}]', '{"type":{}}',
        '[{"role":[],"content":[]}]', '[{"role":"user","content":[{"type":[]}]}]', '["\\ud800"]',
        '[{"role":"user","content":"\\ud800"}]', '[{"type":"tool_result","content":{"type":[]}}]',
    ]
)  # fmt: skip


def read_and_send(asked: Asked, body: bytes) -> None:
    with contextlib.suppress(APIError):
        request = asked.read(JSONObjectParser().parse(_Body(body)))  # type: ignore[arg-type]
        model = served_model(context_tokens=9, max_output_tokens=9)
        assert request.prompt_bound(model) >= 0
        assert request.prompt_estimate >= 0
        request.cannot_fit(9)
        request.default_output_limit(model)
        request.affinity  # noqa: B018
        for one in asked.routes:
            assert all(name.isascii() and name.isprintable() for name in request.left_out(one))
            with contextlib.suppress(APIError):
                json.loads(request.body_for(one, output_limit=9))  # type: ignore[arg-type]


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self) -> bytes:
        return self._body


@pytest.mark.parametrize("name", ENDPOINTS)
@given(fields=st.dictionaries(FIELDS, JSON, max_size=6))
def test_a_request_is_read_or_refused(name: str, fields: dict[str, Any]) -> None:
    asked = ENDPOINTS[name]
    for beside in ({"model": "m"}, {"model": "m", **asked.body}):
        read_and_send(asked, orjson.dumps({**beside, **fields}))


@pytest.mark.parametrize("name", ENDPOINTS)
@given(field=FIELDS, value=STRANGE)
def test_what_no_value_could_be_is_read_or_refused(name: str, field: str, value: str) -> None:
    asked = ENDPOINTS[name]
    whole = orjson.dumps({"model": "m", **asked.body})
    read_and_send(asked, b'%b,"%b":%b}' % (whole[:-1], field.encode(), value.encode()))


@pytest.mark.parametrize("name", ["chat", "messages", "messages over chat", "responses", "moderations"])
@given(
    parts=st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=3),
    kind=WORDS | JSON,
    role=st.sampled_from(["user", "assistant", "system", []]),
)
def test_parts_of_anything_are_read_or_refused(
    name: str, parts: list[dict[str, Any]], kind: Any, role: Any
) -> None:
    """Where a kind of thing is told, anything may stand as well: a list, an object."""
    asked = ENDPOINTS[name]
    typed = [{"type": kind, **part} for part in parts]
    messages = [
        {"role": role, "content": typed},
        {"role": role, "content": [{"type": kind, "content": typed}]},
    ]
    for fields in (
        {"tools": typed, "tool_choice": {"type": kind}},
        {"messages": messages, "input": messages},
    ):
        read_and_send(asked, orjson.dumps({"model": "m", **asked.body, **fields}))


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name != "speech"])
@given(members=st.dictionaries(NAMES, JSON, max_size=6))
def test_a_whole_answer_of_anything_is_read_or_fails(name: str, members: dict[str, Any]) -> None:
    asked = ENDPOINTS[name]
    request = asked.read(JSONObjectParser().parse(_Body(orjson.dumps({"model": "m", **asked.body}))))  # type: ignore[arg-type]
    first = next(iter(asked.answer))
    for body in (members, {**asked.answer, **members}, {**asked.answer, first: [members]}):
        for one in asked.routes:
            with contextlib.suppress(BadAnswer):
                answer = request.read_whole(orjson.dumps(body), one)
                assert answer.size.estimate >= 0
                json.loads(answer.for_customer(BILL))


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name not in {"embeddings", "moderations"}])
@given(told=st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=6), cut=st.booleans())
def test_a_stream_of_anything_is_relayed_or_fails(name: str, told: list[dict[str, Any]], cut: bool) -> None:
    asked = ENDPOINTS[name]
    body = {"model": "m", **asked.body, "stream": True}
    request = asked.read(JSONObjectParser().parse(_Body(orjson.dumps(body))))  # type: ignore[arg-type]
    for one in asked.routes:
        answer = request.read_stream(one, output_bound=50)
        events = [{"type": "message_start", "message": {}}] if name == "messages" else []
        for event in [*events, *told]:
            for said in (event, {"choices": [{"index": 0, "delta": event}]}, {"choices": [event]}):
                if not (answer.done or answer.failure):
                    answer.feed(b"data: %b\n\n" % orjson.dumps(said))
        if cut and not answer.failure:
            answer.cut()
        if not (answer.done or answer.failure):
            answer.end()
        assert answer.size.estimate >= 0
        if answer.failure:
            answer.failed(APIError("upstream_error"))
        else:
            answer.tail(BILL)


# As no figure of ours is written.
PRICE = 987654.125
TELLING = {
    "usage": {
        "cost": PRICE,
        "cost_details": {"upstream_inference_cost": PRICE},
        "prompt_tokens": 3,
        "total_tokens": 3,
    },
    "x_cost": PRICE,
    "provider_metadata": {"of": {"total_price": PRICE}},
}


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name != "speech"])
def test_no_whole_answer_tells_what_it_costs_the_operator(name: str) -> None:
    asked = ENDPOINTS[name]
    request = asked.read(JSONObjectParser().parse(_Body(orjson.dumps({"model": "m", **asked.body}))))  # type: ignore[arg-type]
    for one in asked.routes:
        answer = request.read_whole(orjson.dumps({**asked.answer, **TELLING}), one)
        assert str(PRICE).encode() not in answer.for_customer(BILL)


STREAMS: dict[str, list[dict[str, Any]]] = {
    "chat": [{"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}],
    "completions": [{"choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}],
    "images": [{"type": "image_generation.partial_image", "b64_json": "aGk="}, IMAGE],
    "speech": [{"type": "speech.audio.delta", "audio": "aGk="}, {"type": "speech.audio.done"}],
    "messages": [
        {"type": "message_start", "message": {**MESSAGE, "content": [], **TELLING}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ],
    "responses": [
        {"type": "response.created", "response": {**RESPONSE, **TELLING}},
        {"type": "response.output_text.delta", "item_id": "i", "delta": "Hi"},
        {"type": "response.completed", "response": {**RESPONSE, **TELLING}},
    ],
}


@pytest.mark.parametrize("name", STREAMS)
def test_no_stream_tells_what_it_costs_the_operator(name: str) -> None:
    asked = ENDPOINTS[name]
    body = {"model": "m", **asked.body, "stream": True, "stream_options": {"include_usage": True}}
    request = asked.read(JSONObjectParser().parse(_Body(orjson.dumps(body))))  # type: ignore[arg-type]
    answer = request.read_stream(asked.routes[0], output_bound=0)
    relayed = b"".join(
        answer.feed(b"data: %b\n\n" % orjson.dumps({**one, **TELLING})) for one in STREAMS[name]
    )
    if not answer.done:
        relayed += answer.end()
    assert answer.failure is None
    relayed += answer.tail(BILL)
    assert b"Hi" in relayed or b"aGk=" in relayed
    assert str(PRICE).encode() not in relayed
