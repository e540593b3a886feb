"""A response of an upstream that speaks Responses: what passes, what is counted, how it ends."""

import json
from typing import Any

import orjson
import pytest

from proxy.api.responses.native_stream import NativeStream
from proxy.api.responses.native_whole import native_answer
from proxy.api.responses.request import read_request
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from proxy.metering.endpoint import BadAnswer
from tests.proxy.api.responses.conftest import events_of
from tests.proxy.api.responses.reading import BILL, NATIVE, events, read, sent, streamed
from tests.proxy.api.responses.upstream import (
    BEGUN,
    BODY,
    END,
    HEAD,
    MESSAGE,
    STREAM,
    USED,
    WHOLE,
    chat_stream,
    delta,
    event,
    response,
)

FUNCTION = {"type": "function", "name": "f"}
CALL = {
    "type": "function_call",
    "id": "fc",
    "call_id": "c",
    "name": "look",
    "arguments": "{}",
    "status": "completed",
}


def stream(*, output_bound: int = 0) -> NativeStream:
    answer = read(stream=True).read_stream(NATIVE, output_bound=output_bound)
    assert isinstance(answer, NativeStream)
    return answer


def fed(*chunks: bytes, **options: int) -> NativeStream:
    answer = stream(**options)
    for chunk in chunks:
        answer.feed(chunk)
    return answer


def decoded(relayed: bytes) -> list[dict[str, Any]]:
    return [json.loads(each.split(b"data: ")[1]) for each in relayed.split(b"\n\n") if each]


def test_events_pass_byte_for_byte_but_for_those_with_the_response() -> None:
    relayed = streamed(stream(), *STREAM)
    assert b"".join(BODY) in relayed
    first, last = decoded(relayed)[0], decoded(relayed)[-1]
    assert first == {
        **json.loads(HEAD[0].split(b"data: ")[1]),
        "response": {**response("in_progress"), "model": "m"},
    }
    assert last["response"]["id"] == "resp_up"
    assert last["response"]["output"] == [MESSAGE]


def test_a_stream_may_be_cut_anywhere() -> None:
    written = b"".join(STREAM)
    expected = streamed(stream(), *STREAM)
    for size in (1, 7, 100, 10**6):
        parts = [written[start : start + size] for start in range(0, len(written), size)]
        assert streamed(stream(), *parts) == expected


def test_events_that_are_new_pass_as_they_are() -> None:
    strange = event("response.telepathy.delta", delta={"a": 1}, sequence_number=9, output_index=0)
    assert strange in streamed(stream(), *HEAD, *BODY, strange, END)


def test_purchase_prices_stay_here_and_the_clients_own_words_do_not() -> None:
    said = response(output=[MESSAGE], usage={**USED, "cost": 3}, cost=3, billing={"payer": "x"})
    last = decoded(
        streamed(stream(), *HEAD, *BODY, event("response.completed", response=said, sequence_number=9))
    )[-1]
    assert not {"cost", "billing"} & last["response"].keys()
    assert "cost" not in last["response"]["usage"]
    assert last["response"]["tools"][0]["parameters"]["properties"] == {"price": {"type": "number"}}
    assert (
        stream().feed(event("response.x", cost=3, output_index=0))
        == b'event: response.x\ndata: {"type":"response.x","output_index":0}\n\n'
    )


def test_half_a_surrogate_does_not_stop_an_answer() -> None:
    broken = b"".join(STREAM).replace(b"lo!", b"lo\\ud83d").replace(b'"resp_up"', b'"resp_\\ud83d"')
    found = decoded(streamed(stream(), broken))
    assert len(found) == len(STREAM)
    assert found[-1]["response"]["model"] == found[0]["response"]["model"] == "m"
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "Hello!"[:5] + "\ud83d"
    assert found[-1]["response"]["usage"]["cost_toman"] == BILL.cost_toman


def test_a_price_beside_the_response_stays_here_too() -> None:
    end = event("response.completed", response=WHOLE, cost=3, timings={"cost": 3, "n": 1}, sequence_number=9)
    last = decoded(streamed(stream(), *HEAD, *BODY, end))[-1]
    assert "cost" not in last
    assert last["timings"] == {"n": 1}
    assert last["response"]["model"] == "m"


def test_usage_is_read_of_the_last_event() -> None:
    answer = fed(*STREAM)
    assert answer.done
    assert answer.finished
    assert answer.is_final
    assert answer.report is not None
    assert (answer.report.usage.prompt_tokens, answer.report.usage.completion_tokens) == (12, 9)
    assert (answer.report.usage.cached_tokens, answer.report.usage.reasoning_tokens) == (4, 2)


def test_every_text_is_counted_once() -> None:
    assert fed(*STREAM).size.text_bytes == len("Hello!")
    without_deltas = fed(*HEAD, event("response.output_item.done", output_index=0, item=MESSAGE), END)
    assert without_deltas.size.text_bytes == len("Hello!")
    assert fed(*HEAD, END).size.text_bytes == len("Hello!")


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("response.reasoning_text.delta", {"content_index": 0, "delta": "12345"}),
        ("response.reasoning_summary_text.delta", {"summary_index": 0, "delta": "12345"}),
        ("response.refusal.delta", {"content_index": 0, "delta": "12345"}),
        ("response.function_call_arguments.delta", {"delta": "12345"}),
        ("response.custom_tool_call_input.delta", {"delta": "12345"}),
        ("response.something_new.delta", {"delta": "12345", "surprise": 1}),
        ("response.output_text.done", {"content_index": 0, "text": "12345"}),
        ("response.function_call_arguments.done", {"arguments": "12345"}),
        ("response.content_part.done", {"content_index": 0, "part": {"type": "output_text", "text": "12345"}}),
        ("response.output_item.done", {"item": {"type": "custom_tool_call", "input": "12345"}}),
        ("response.output_item.done", {"item": {"type": "apply_patch_call", "operation": {"diff": "12345"}}}),
        ("response.output_item.done", {"item": {"type": "shell_call", "action": {"commands": ["123", "45"]}}}),
        ("response.output_item.done", {"item": {"type": "reasoning", "summary": [{"text": "12345"}]}}),
    ],
)  # fmt: skip
def test_whatever_an_event_says_is_counted_before_it_is_relayed(kind: str, members: dict[str, Any]) -> None:
    said = event(kind, output_index=0, item_id="x", sequence_number=2, **members)
    assert fed(*HEAD, said).size.text_bytes == 5
    waiting = stream()
    assert waiting.allow(4) == b""
    assert waiting.feed(b"".join([*HEAD, said])) == b""
    assert waiting.waits_for == 5
    assert said in waiting.allow(5)
    assert waiting.size.text_bytes == 5


def test_the_first_events_wait_for_the_answer_so_that_a_failure_keeps_its_status() -> None:
    answer = stream()
    assert answer.feed(b"".join(HEAD)) == b""
    assert not answer.begun
    failed = event(
        "response.failed", response=response("failed", error={"code": "rate_limit_exceeded", "message": "x"})
    )
    answer.feed(failed)
    assert answer.failure is not None
    assert answer.failure.status == 429
    assert stream().feed(b"".join([*HEAD, BODY[0]])).count(b"event:") == 3


@pytest.mark.parametrize(
    "bad",
    [
        event("error", code="server_error", message="Broken.", param=None, sequence_number=3),
        b'data: {"error":{"message":"Broken."}}\n\n',
        event(
            "response.failed",
            response=response("failed", error={"code": "server_error", "message": "Broken."}),
        ),
        event("response.failed", response=response("failed")),
        b"data: [1]\n\n",
        b"data: {\n\n",
        b"<html>\n\n",
    ],
)
def test_what_is_no_response_is_a_failure(bad: bytes) -> None:
    answer = fed(*HEAD, *BODY[:3], bad)
    assert isinstance(answer.failure, BadAnswer)
    assert not answer.broke_off


def test_an_end_without_its_last_event_is_a_failure() -> None:
    for chunks in ([], HEAD, STREAM[:-1], [*STREAM[:-1], b"data: [DONE]\n\n"]):
        answer = fed(*chunks)
        answer.end()
        assert answer.failure is not None
        assert answer.broke_off


def test_a_chat_is_no_response() -> None:
    assert fed(*chat_stream()).failure is not None


def test_a_stream_ends_incomplete_where_no_more_is_paid_for() -> None:
    answer = stream(output_bound=10)
    relayed = answer.feed(b"".join([*HEAD, *BODY[:3], delta("abcdef " * 100, 5), delta("y", 6)]))
    assert answer.done
    assert answer.is_cut
    relayed += answer.tail(BILL)
    found = events_of(relayed)
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert [each["type"] for each in found[-2:]] == ["response.output_item.done", "response.incomplete"]
    last = found[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == "Hel"
    assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert last["usage"]["cost_toman"] == BILL.cost_toman
    assert last["model"] == "m"


def test_a_call_that_is_cut_is_not_done() -> None:
    added = event(
        "response.output_item.added", output_index=0, item={**CALL, "arguments": ""}, sequence_number=2
    )
    more = event(
        "response.function_call_arguments.delta", output_index=0, item_id="fc", delta='{"a', sequence_number=3
    )
    answer = fed(*HEAD, added, more)
    answer.cut()
    found = events_of(answer.tail(BILL))
    assert [each["type"] for each in found] == ["response.incomplete"]
    assert found[0]["response"]["output"] == [{**CALL, "arguments": '{"a', "status": "incomplete"}]


def test_who_cannot_pay_for_more_is_told_so_at_the_end_of_what_was_paid_for() -> None:
    answer = fed(*HEAD, *BODY[:3])
    answer.cut()
    last = decoded(answer.tail(BILL, refused=APIError("insufficient_balance")))[-1]
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "insufficient_quota")
    assert last["response"]["usage"]["cost_toman"] == BILL.cost_toman


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (APIError("upstream_error"), "server_error", "Upstream"),
        (
            APIError("rate_limit_exceeded", headers={"Retry-After": "7"}),
            "rate_limit_exceeded",
            "try again in 7s.",
        ),
        (APIError("insufficient_balance"), "insufficient_quota", "wallet"),
        (APIError("context_length_exceeded"), "context_length_exceeded", "longer"),
        (APIError("wallet_frozen"), "invalid_prompt", "frozen"),
    ],
)
def test_a_late_failure_is_told_as_agents_stop_or_wait(error: APIError, code: str, says: str) -> None:
    for answer in (fed(*HEAD, *BODY), fed(*HEAD), stream()):
        found = decoded(answer.failed(error))
        assert found[0]["type"] in {"response.created", "response.failed"}
        assert found[-1]["type"] == "response.failed"
        assert found[-1]["response"]["status"] == "failed"
        assert found[-1]["response"]["error"]["code"] == code
        assert says in found[-1]["response"]["error"]["message"]


def test_a_failure_before_anything_begins_a_response_first() -> None:
    assert [each["type"] for each in decoded(stream().failed(APIError("upstream_error")))] == [
        "response.created",
        "response.failed",
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {**WHOLE, "status": "failed", "error": {"code": "server_error", "message": "x"}},
        {**WHOLE, "status": "failed"},
        {**WHOLE, "status": "in_progress"},
        {**WHOLE, "status": "queued"},
        {**WHOLE, "output": None},
        {"error": {"message": "x"}},
        {"choices": []},
        [],
    ],
)
def test_a_whole_answer_that_is_no_finished_response_is_a_failure(bad: Any) -> None:
    with pytest.raises(BadAnswer):
        native_answer(json.dumps(bad).encode(), model="m")


def test_a_whole_answer_is_counted_by_all_that_it_says() -> None:
    answer = native_answer(json.dumps({**WHOLE, "output": [MESSAGE, CALL]}).encode(), model="m")
    assert answer.size.text_bytes == len("Hello!") + len("look") + len("{}")
    assert answer.report is not None


def test_a_body_passes_but_for_what_changes_who_serves_what_it_costs_and_how_much_is_made() -> None:
    passing: dict[str, Any] = {
        "instructions": "I", "reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "text"}}, "unknown": {"a": [1.50, 10**18]}, "prompt_cache_key": "k",
        "truncation": "auto", "temperature": 0.10, "tool_choice": "auto", "metadata": {"a": "b"},
    }  # fmt: skip
    changing: dict[str, Any] = {
        "service_tier": "priority", "background": True, "max_tokens": 10**6, "n": 5, "models": ["x"],
        "context_management": [{"type": "compaction"}], "extra_body": {}, "messages": [], "provider": {}, "priority": 1,
    }  # fmt: skip
    request = read(**passing, **changing, store=True, max_output_tokens=10**6)
    assert sent(request, NATIVE) == {
        "model": "name-there",
        "input": "Hello!",
        **passing,
        "store": False,
        "max_output_tokens": 9,
    } | {"unknown": {"a": [1.5, 10**18]}}
    assert b"1.5" in request.body_for(NATIVE, output_limit=9)
    assert set(request.left_out(NATIVE)) == changing.keys() - {"max_tokens"}


@pytest.mark.parametrize(
    "tool",
    [
        FUNCTION,
        {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "n", "description": "", "tools": [FUNCTION]},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "tool_search", "execution": "client"},
        {"type": "computer"},
    ],
)
def test_a_tool_of_the_clients_own_passes(tool: dict[str, Any]) -> None:
    assert sent(read(tools=[tool]), NATIVE)["tools"] == [tool]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "web_search_preview_2025_03_11"},
        {"type": "file_search", "vector_store_ids": ["x"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation"},
        {"type": "mcp", "server_url": "https://x"},
        {"type": "programmatic_tool_calling"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "tool_search"},
        {"type": "Web_Search"},
        {"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]},
        {"google_search": {}},
        {"type": "web_search", "execution": 5},
        {"type": "mcp", "tools": "all"},
        {"type": "function", "name": "f", "Type": "web_search"},
        {"type": "namespace", "name": "n", "tools": [{"TYPE": "mcp", "name": "f"}]},
    ],
)
def test_a_tool_that_runs_upstream_does_not_pass(tool: dict[str, Any]) -> None:
    asked = sent(read(tools=[tool, FUNCTION], tool_choice={"type": tool.get("type")}), NATIVE)
    assert asked["tools"] == [FUNCTION]
    if tool.get("type") not in {"shell", "function"}:
        assert "tool_choice" not in asked
    alone = sent(read(tools=[tool], tool_choice="auto", parallel_tool_calls=True), NATIVE)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & alone.keys()
    hidden = {"type": "additional_tools", "role": "developer", "tools": [tool, FUNCTION]}
    assert sent(read(input=[hidden]), NATIVE)["input"] == [{**hidden, "tools": [FUNCTION]}]
    escaped = orjson.dumps({"model": "m", "input": [hidden]}).replace(b"additional", b"additiona\\u006c")
    request = read_request(read_payload(escaped), model="m")
    assert sent(request, NATIVE)["input"] == [{**hidden, "tools": [FUNCTION]}]


@pytest.mark.parametrize(
    "hidden",
    [
        {"Type": "additional_tools", "type": "message"},
        {"type": "message", "TYPE": "additional_tools"},
        {"Type": "additional_tools"},
        {"Type": "item_reference", "id": "rs_1", "type": "message"},
        {"type": "additional_tools", "Tools": [{"type": "web_search"}]},
        {"type": "additional_tools", "tool\u017f": [{"type": "web_search"}]},
    ],
)
def test_an_item_is_what_it_is_read_as(hidden: dict[str, Any]) -> None:
    kept = {name: value for name, value in hidden.items() if name in {"type", "tools", "id"}}
    item = {"role": "user", "content": "hi", "tools": [FUNCTION]}
    written = orjson.dumps({"model": "m", "input": [{**item, **hidden}]})
    for body in (written, written.replace(b"Type", b"\\u0054ype")):
        assert sent(read_request(read_payload(body), model="m"), NATIVE)["input"] == [{**item, **kept}]


def test_a_tool_is_carried_out_where_it_says_once() -> None:
    disguised = [
        {"type": "tool_search", "execution": "client", "Execution": "server"},
        {"type": "shell", "environment": {"type": "local"}, "Environment": {"type": "container_auto"}},
        {"type": "namespace", "name": "n", "tools": [FUNCTION], "Tools": [{"type": "mcp"}]},
    ]
    assert sent(read(tools=[*disguised, FUNCTION]), NATIVE)["tools"] == [FUNCTION]


def test_a_response_may_say_nothing_at_all() -> None:
    nothing = event("response.completed", response=response(usage=USED), sequence_number=2)
    assert [each["type"] for each in events(*HEAD, nothing, route=NATIVE)] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]


def test_an_item_that_has_begun_is_seen_by_its_index() -> None:
    second = event(
        "response.output_item.added", output_index=1, item={**BEGUN, "id": "msg_2"}, sequence_number=9
    )
    answer = fed(*HEAD, *BODY, second)
    answer.cut()
    assert [item["id"] for item in decoded(answer.tail(BILL))[-1]["response"]["output"]] == [
        "msg_up",
        "msg_2",
    ]


def without(written: bytes, *names: str) -> bytes:
    """An event as other engines write it."""
    head, data = written.split(b"data: ")
    return (
        head
        + b"data: "
        + json.dumps({n: v for n, v in json.loads(data).items() if n not in names}).encode()
        + b"\n\n"
    )


@pytest.mark.parametrize(
    "missing",
    [
        ("output_index", "content_index", "sequence_number"),  # llama.cpp
        ("item_id", "content_index"),
        ("output_index", "item_id"),
    ],
)
def test_texts_are_counted_once_whatever_an_engine_says_of_their_places(missing: tuple[str, ...]) -> None:
    second = {**MESSAGE, "id": "msg_2"}
    written = [
        *BODY,
        event("response.output_item.added", output_index=1, item={**BEGUN, "id": "msg_2"}, sequence_number=9),
        event("response.output_item.done", output_index=1, item=second, sequence_number=10),
    ]
    said = event(
        "response.completed", response=response(output=[MESSAGE, second], usage=USED), sequence_number=11
    )
    answer = fed(*HEAD, *(without(each, *missing) for each in written), said)
    assert answer.finished
    assert answer.size.text_bytes == 2 * len("Hello!")


def test_new_ids_on_the_way_make_no_new_text() -> None:
    renamed = event(
        "response.output_item.done", output_index=0, item={**MESSAGE, "id": "msg_x"}, sequence_number=8
    )
    said = event("response.completed", response=response(output=[{**MESSAGE, "id": "msg_y"}], usage=USED))
    assert fed(*HEAD, *BODY[:6], renamed, said).size.text_bytes == len("Hello!")


def test_a_thought_that_is_cut_is_told_as_far_as_it_came() -> None:
    item = {"id": "rs", "type": "reasoning", "summary": []}
    added = event("response.output_item.added", output_index=0, item=item, sequence_number=2)
    for kind, index, expected in (
        ("reasoning_summary_text", "summary_index", {"summary": [{"type": "summary_text", "text": "So"}]}),
        ("reasoning_text", "content_index", {"content": [{"type": "reasoning_text", "text": "So"}]}),
    ):
        more = event(f"response.{kind}.delta", output_index=0, item_id="rs", delta="So", **{index: 0})
        answer = fed(*HEAD, added, more)
        answer.cut()
        last = decoded(answer.tail(BILL))[-1]["response"]
        assert last["output"] == [{**item, "status": "incomplete", **expected}]
