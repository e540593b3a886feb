"""Gemini's OpenAI-compatible endpoint through the official SDK: a local one with the real one's ways.

It answers 400, in an array, to fields that it does not know; reports usage on every chunk; leaves `index` out of
tool deltas, or gives calls side by side the same one; ends an answer that calls tools with `stop`; gives every
delta a role; and goes on generating, and billing, when its reader hangs up.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pytest_django import DjangoDbBlocker

from proxy.catalogue.models import Upstream
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, respond, stream_events
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import (
    CREDIT,
    HELLO,
    INPUT_PRICE,
    OUTPUT_PRICE,
    Caller,
    add_model,
    take_off_sale,
)

GEMINI, STRICTER, OTHER = "gemini", "gemini with more to leave out", "no gemini"
KNOWN = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "temperature",
        "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
        "extra_body", "modalities",
    }
)  # fmt: skip
# What SDKs and frameworks send to every endpoint.
EVERYWHERE: dict[str, Any] = {
    "store": True, "metadata": {"a": "b"}, "user": "u", "seed": 7, "frequency_penalty": 0.5,
    "presence_penalty": 0.5, "logit_bias": {"5": 1}, "service_tier": "auto", "prompt_cache_key": "k",
    "safety_identifier": "s", "verbosity": "low", "extra_body": {"top_k": 5, "min_p": 0.1},
}  # fmt: skip
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]
SIGNED = {"google": {"thought_signature": "c2lnbmVk+/="}}
CALLS = [
    {
        "id": "call-a",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Tehran"}'},
        "extra_content": SIGNED,
    },
    {"id": "call-b", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Shiraz"}'}},
]


def usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": completion, "total_tokens": 12 + completion}


def chunk(delta: dict[str, Any], completion: int, finish: str | None = None) -> bytes:
    body = {
        "choices": [{"delta": {"role": "assistant", **delta}, "finish_reason": finish, "index": 0}],
        "created": 1,
        "id": "g",
        "model": "gemini-up",
        "object": "chat.completion.chunk",
        "usage": usage(completion),
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


TEXT: list[bytes | float] = [
    chunk({"content": "Sa"}, 3),
    0.3,
    chunk({"content": "lam"}, 6),
    chunk({"content": "!"}, 9, "stop"),
]
WITHOUT_INDEX = [chunk({"tool_calls": [CALLS[0]]}, 5), chunk({"tool_calls": [CALLS[1]]}, 9, "stop")]
SAME_INDEX = [
    chunk({"tool_calls": [{**CALLS[0], "index": 0}]}, 4),
    chunk({"tool_calls": [{**CALLS[1], "index": 0}]}, 8),
    chunk({}, 9, "stop"),
]
DONE = b"data: [DONE]\n\n"


async def as_gemini(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    unknown = sorted(set(request) - KNOWN)
    if unknown:
        said = "\n".join(
            f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in unknown
        )
        error = {"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}
        await respond(400, [error])(request, writer)
    elif request.get("stream"):
        await stream_events(*(WITHOUT_INDEX if "tools" in request else TEXT), DONE)(request, writer)
    else:
        message = {
            "role": "assistant",
            **({"tool_calls": CALLS} if "tools" in request else {"content": "Salam!"}),
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await respond(200, {"id": "g", "object": "chat.completion", "choices": [choice], "usage": usage(9)})(
            request, writer
        )


@pytest.fixture(scope="module")
def web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, upstream: FakeUpstream
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock():
        for model_id in (GEMINI, STRICTER, OTHER):
            add_model(model_id, upstream.url, on_disconnect="drain")
        gemini = Upstream.objects.filter(name__in=[f"upstream of {GEMINI}", f"upstream of {STRICTER}"])
        gemini.update(kind=Upstream.Kind.GEMINI)
        gemini.filter(name=f"upstream of {STRICTER}").update(strip_fields="made_up, reasoning_effort")
    with django_db_blocker.unblock(), web_process() as process:
        yield process
        take_off_sale(GEMINI, STRICTER, OTHER)


@pytest.fixture
def gemini(caller: Caller, upstream: FakeUpstream) -> Caller:
    upstream.script = as_gemini
    return caller


def assert_billed(caller: Caller) -> None:
    """By the last usage, once."""
    record = caller.usage()
    assert (record.completion_tokens, record.billed_by) == (9, "usage")
    assert caller.balance() == (CREDIT - 12 * INPUT_PRICE - 9 * OUTPUT_PRICE, 0)


ASKED: dict[str, Any] = {
    "model": GEMINI, "messages": HELLO, "temperature": 0.5, "reasoning_effort": "low", "max_completion_tokens": 50,
    **EVERYWHERE,
}  # fmt: skip


def assert_sent_what_it_knows(upstream: FakeUpstream) -> None:
    sent = upstream.requests[0]
    assert (sent["temperature"], sent["reasoning_effort"], sent["max_tokens"]) == (0.5, "low", 50)
    assert set(sent) <= KNOWN


def test_what_every_sdk_sends_is_left_out_and_the_rest_goes_through(
    gemini: Caller, upstream: FakeUpstream
) -> None:
    answer = gemini.sdk.chat.completions.create(**ASKED)
    assert answer.choices[0].message.content == "Salam!"
    assert_sent_what_it_knows(upstream)
    assert_billed(gemini)


def test_so_it_is_in_a_stream(gemini: Caller, upstream: FakeUpstream) -> None:
    with gemini.sdk.chat.completions.stream(**ASKED) as stream:
        message = stream.get_final_completion().choices[0].message
    assert (message.role, message.content) == ("assistant", "Salam!")
    assert_sent_what_it_knows(upstream)
    assert_billed(gemini)


@pytest.mark.parametrize(
    "error",
    [
        {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
        {"status": "FAILED_PRECONDITION"},
    ],
)
def test_a_refusal_that_is_the_operators_fault_is_not_passed_on(
    gemini: Caller, upstream: FakeUpstream, error: dict[str, Any]
) -> None:
    upstream.script = respond(400, [{"error": {"code": 400, "message": "Pass a valid API key.", **error}}])
    with pytest.raises(openai.InternalServerError) as caught:
        gemini.sdk.chat.completions.create(model=GEMINI, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")
    assert gemini.usage().outcome == "upstream_failed"


def test_what_it_does_not_know_and_no_rule_names_is_refused_in_the_openai_shape(gemini: Caller) -> None:
    with pytest.raises(openai.BadRequestError, match='Unknown name "made_up"') as caught:
        gemini.sdk.chat.completions.create(model=GEMINI, messages=HELLO, extra_body={"made_up": 1})
    assert caught.value.code is None


def test_an_admin_can_name_more_to_leave_out(gemini: Caller, upstream: FakeUpstream) -> None:
    gemini.sdk.chat.completions.create(
        model=STRICTER, messages=HELLO, reasoning_effort="low", store=True, extra_body={"made_up": 1}
    )
    assert set(upstream.requests[0]) == {"model", "messages", "max_tokens"}


def test_usage_on_every_chunk_reaches_the_sdk_once_and_with_its_cost(gemini: Caller) -> None:
    chunks = list(
        gemini.sdk.chat.completions.create(
            model=GEMINI, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert [one.usage.completion_tokens for one in chunks if one.usage] == [9]
    assert chunks[-1].choices == []
    assert_billed(gemini)


@pytest.mark.parametrize("events", [WITHOUT_INDEX, SAME_INDEX], ids=["without index", "same index"])
def test_streamed_tool_calls_are_put_together_and_answered(
    gemini: Caller, upstream: FakeUpstream, events: list[bytes]
) -> None:
    upstream.script = stream_events(*events, DONE)
    with gemini.sdk.chat.completions.stream(model=GEMINI, messages=HELLO, tools=TOOLS) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert [(call.id, call.function.arguments) for call in calls] == [
        ("call-a", '{"city":"Tehran"}'),
        ("call-b", '{"city":"Shiraz"}'),
    ]
    assert (calls[0].model_extra or {})["extra_content"] == SIGNED
    assert_billed(gemini)
    assert_the_next_round_arrives_as_it_was_sent(gemini, upstream, choice.message.to_dict())


def test_whole_tool_calls_end_as_such_and_are_answered(gemini: Caller, upstream: FakeUpstream) -> None:
    choice = gemini.sdk.chat.completions.create(model=GEMINI, messages=HELLO, tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.to_dict()["tool_calls"] == CALLS
    assert_billed(gemini)
    assert_the_next_round_arrives_as_it_was_sent(gemini, upstream, choice.message.to_dict())


def assert_the_next_round_arrives_as_it_was_sent(
    caller: Caller, upstream: FakeUpstream, message: dict[str, Any]
) -> None:
    """The thought's signature among it, without which Gemini refuses the tools' answers."""
    upstream.script = as_gemini
    result = {"role": "tool", "tool_call_id": "call-a", "content": "30°"}
    messages: list[Any] = [*HELLO, message, result]
    caller.sdk.chat.completions.create(model=GEMINI, messages=messages)
    assert upstream.requests[-1]["messages"] == json.loads(json.dumps(messages))
    assert upstream.requests[-1]["messages"][1]["tool_calls"][0]["extra_content"] == SIGNED


def test_when_the_reader_leaves_what_it_bills_on_is_billed(gemini: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(TEXT[0], 2, *TEXT[2:], DONE)
    with gemini.sdk.chat.completions.create(model=GEMINI, messages=HELLO, stream=True) as stream:
        next(iter(stream))
    eventually(UsageRecord.objects.filter(key_id=gemini.key_id).exists)
    assert gemini.usage().outcome == "client_left"
    assert not upstream.hung_up.is_set()
    assert_billed(gemini)


def test_another_upstreams_answers_are_not_touched(gemini: Caller, upstream: FakeUpstream) -> None:
    events = [
        chunk({"tool_calls": [CALLS[0]]}, 5).replace(b', "usage": ' + json.dumps(usage(5)).encode(), b""),
        chunk({}, 9, "stop").replace(b', "usage": ' + json.dumps(usage(9)).encode(), b""),
    ]
    upstream.script = stream_events(*events, DONE)
    assert gemini.ask(model=OTHER, stream=True).content == b"".join([*events, DONE]).replace(
        b"gemini-up", OTHER.encode()
    )
