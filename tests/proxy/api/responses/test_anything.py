"""Whatever a client or an upstream writes: an error of ours, or an answer."""

import contextlib
import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.responses.native_whole import native_answer
from proxy.api.responses.request import read_request, required_model
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from proxy.metering.endpoint import BadAnswer
from proxy.upstreams import sse
from tests.proxy.api.responses.reading import BILL, CHAT, NATIVE, read
from tests.proxy.api.responses.upstream import MESSAGE, WHOLE, chat_stream, event, response

WORDS = st.sampled_from(
    [
        "message", "function_call", "function_call_output", "custom_tool_call", "reasoning", "namespace", "function",
        "custom", "web_search", "input_text", "input_image", "input_file", "input_audio", "user", "developer", "auto",
        "allowed_tools", "json_schema", "additional_tools", "local_shell_call", "text", "x", "",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "type", "role", "content", "text", "call_id", "name", "arguments", "input", "output", "tools", "id", "summary",
        "namespace", "image_url", "file_data", "format", "effort", "schema", "mode", "action", "status", "item", "part",
        "delta", "response", "error", "usage", "output_index", "content_index", "sequence_number", "environment",
    ]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "store", "truncation", "model",
        "metadata", "max_output_tokens", "stream", "parallel_tool_calls", "background", "service_tier", "prompt",
    ]
)  # fmt: skip


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_a_request_is_read_or_refused(fields: dict[str, Any]) -> None:
    payload = read_payload(orjson.dumps({"model": "m", "input": "x", **fields}))
    with contextlib.suppress(APIError):
        required_model(payload)
        request = read_request(payload, model="m")
        for route in (CHAT, NATIVE):
            request.left_out(route)
            with contextlib.suppress(APIError):
                msgspec.json.decode(request.body_for(route, output_limit=9))
            if request.stream:
                request.read_stream(route, output_bound=0).failed(APIError("upstream_error"))


@pytest.mark.parametrize(
    "name", ["store", "truncation", "text", "reasoning", "tool_choice", "max_output_tokens"]
)
@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "[[]]", '{"type":[],"summary":{}}'])
def test_what_no_value_could_be_is_read_or_refused(name: str, value: str) -> None:
    body = b'{"model":"m","input":"x","tools":[{"type":"web_search"},{"type":"function","name":"f"}],"%b":%b}'
    with contextlib.suppress(APIError):
        payload = read_payload(body % (name.encode(), value.encode()))
        read_request(payload, model="m").body_for(NATIVE, output_limit=9)


KINDS = st.sampled_from(
    [
        "response.created", "response.output_item.added", "response.output_item.done", "response.output_text.delta",
        "response.output_text.done", "response.content_part.done", "response.completed", "response.incomplete",
        "response.failed", "response.function_call_arguments.delta", "response.reasoning_summary_text.done", "error",
        "keepalive", "strange",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(KINDS, st.dictionaries(NAMES, JSON, max_size=5)), max_size=6), st.booleans())
def test_a_stream_of_anything_is_relayed_or_fails(told: list[tuple[str, dict[str, Any]]], cut: bool) -> None:
    answer = read(stream=True).read_stream(NATIVE, output_bound=50)
    for kind, members in told:
        answer.feed(event(kind, **{name: value for name, value in members.items() if name != "type"}))
    if cut:
        answer.cut()
    elif not answer.done:
        answer.end()
    ended = answer.failed(APIError("upstream_error")) if answer.failure else answer.tail(BILL)
    assert ended is not None
    for written in ended.split(b"\n\n")[:-1]:
        json.loads(sse.data(written) or b"")


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_a_whole_answer_of_anything_is_read_or_fails(members: dict[str, Any]) -> None:
    for body in (members, {**WHOLE, **members}, {**WHOLE, "output": [members, {**MESSAGE, **members}]}):
        with contextlib.suppress(BadAnswer):
            json.loads(native_answer(orjson.dumps(body), model="m").for_customer(BILL))


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_a_chat_of_anything_is_told_or_fails(members: dict[str, Any]) -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":%b}]}\n\n' % orjson.dumps(
        {**members, "tool_calls": [members]}
    )
    answer = read(stream=True).read_stream(CHAT, output_bound=0)
    for part in chat_stream(chunk):
        answer.feed(part)
    if not answer.failure:
        answer.tail(BILL)
    with contextlib.suppress(BadAnswer):
        said = {"choices": [{"message": {**members, "tool_calls": [members]}}], "response": response()}
        read().read_whole(orjson.dumps(said), CHAT).for_customer(BILL)
