"""A chat's answer as a response: each line is something that a real client needs."""

import json
from typing import Any

import pytest
from openai.types.responses import Response

from proxy.errors import APIError
from tests.fake_upstream import chunk
from tests.proxy.api.responses.reading import BILL, CHAT, events, read, streamed, whole
from tests.proxy.api.responses.upstream import call_chunk, chat_stream

HELLO = chat_stream(chunk({"content": "Hel"}), chunk({"content": "lo!"}))
THINKING = chat_stream(chunk({"reasoning_content": "So"}), chunk({"reasoning_content": "..."}), *HELLO[1:3])
CALLS = chat_stream(
    call_chunk(0, call_id="call_0", name="look"),
    call_chunk(1, call_id="call_1", name="buy"),
    call_chunk(0, arguments='{"at":'),
    call_chunk(1, arguments='{"price":1}'),
    call_chunk(0, arguments='"it"}'),
    finish="tool_calls",
)


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in found if event["type"] == f"response.{kind}"]


def items_done(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["item"] for event in of_kind(found, "output_item.done")]


def test_a_text_has_all_its_events_in_order() -> None:
    found = events(*HELLO)
    assert kinds(found) == [
        "created",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_one_response_has_one_id_throughout_and_another_one_another() -> None:
    found = [event["response"]["id"] for event in events(*HELLO) if "response" in event]
    assert len(found) == 2
    assert len(set(found)) == 1
    assert found[0].startswith("resp_")
    assert events(*HELLO)[0]["response"]["id"] != found[0]


def test_an_item_says_where_it_stands_from_the_beginning() -> None:
    found = events(*THINKING)
    added = of_kind(found, "output_item.added")
    assert [event["output_index"] for event in added] == [0, 1]
    for event in of_kind(found, "output_text.delta"):
        assert event["item_id"] == added[1]["item"]["id"]
        assert (event["output_index"], event["content_index"]) == (1, 0)


def test_a_done_item_is_whole_and_stands_in_the_last_response() -> None:
    found = events(*THINKING)
    done = items_done(found)
    assert done[1]["content"] == [
        {"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": []}
    ]
    assert done[1]["status"] == "completed"
    assert found[-1]["response"]["output"] == done
    assert found[0]["response"]["output"] == []


def test_usage_has_the_names_and_details_of_responses_and_the_bill() -> None:
    usage = events(*HELLO)[-1]["response"]["usage"]
    assert usage == {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 21,
        "cost_toman": BILL.cost_toman,
        "cost_details": BILL.cost_details(),
    }


def test_calls_that_a_chat_mixes_come_whole() -> None:
    found = events(*CALLS)
    first, second = items_done(found)
    assert (first["name"], first["arguments"], first["call_id"]) == ("look", '{"at":"it"}', "call_0")
    assert (second["name"], second["arguments"]) == ("buy", '{"price":1}')
    for item in (first, second):
        deltas = [
            e["delta"] for e in of_kind(found, "function_call_arguments.delta") if e["item_id"] == item["id"]
        ]
        assert "".join(deltas) == item["arguments"]
    assert found[-1]["response"]["output"] == [first, second]


def test_a_call_without_arguments_has_a_delta_all_the_same() -> None:
    found = events(*chat_stream(call_chunk(0, call_id="c", name="look"), finish="tool_calls"))
    assert [event["delta"] for event in of_kind(found, "function_call_arguments.delta")] == ["{}"]
    assert items_done(found)[0]["arguments"] == "{}"


def test_a_name_that_is_said_with_every_piece_makes_one_call() -> None:
    pieces = [call_chunk(0, call_id="c", name="look", arguments=text) for text in ('{"a"', ":1}")]
    assert [item["arguments"] for item in items_done(events(*chat_stream(*pieces, finish="tool_calls")))] == [
        '{"a":1}'
    ]


def test_calls_that_share_a_number_are_told_apart_by_their_ids() -> None:
    pieces = [call_chunk(0, call_id=name, name=name, arguments="{}") for name in ("one", "two")]
    assert [item["name"] for item in items_done(events(*chat_stream(*pieces, finish="tool_calls")))] == [
        "one",
        "two",
    ]


def test_a_call_id_that_the_conversation_has_is_not_given_again() -> None:
    items = [
        {"type": "function_call", "call_id": "call_0", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_0", "output": "x"},
    ]
    first, second = items_done(events(*CALLS, input=items))
    assert first["call_id"] not in {"call_0", "call_1"}
    assert second["call_id"] == "call_1"


def test_a_namespace_is_restored() -> None:
    tools = [{"type": "namespace", "name": "shop", "tools": [{"type": "function", "name": "buy"}]}]
    stream = chat_stream(call_chunk(0, call_id="c", name="shop__buy", arguments="{}"), finish="tool_calls")
    [item] = items_done(events(*stream, tools=tools))
    assert (item["namespace"], item["name"]) == ("shop", "buy")


@pytest.mark.parametrize("arguments", ['{"input":"*** Begin"}', '"*** Begin"', "*** Begin"])
def test_a_custom_tool_is_called_with_its_text(arguments: str) -> None:
    stream = chat_stream(
        call_chunk(0, call_id="c", name="patch"),
        call_chunk(0, arguments=arguments[:5]),
        call_chunk(0, arguments=arguments[5:]),
        finish="tool_calls",
    )
    found = events(*stream, tools=[{"type": "custom", "name": "patch"}])
    [item] = items_done(found)
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "patch", "*** Begin")
    assert [event["delta"] for event in of_kind(found, "custom_tool_call_input.delta")] == ["*** Begin"]


def test_thoughts_are_an_item_of_their_own() -> None:
    found = events(*THINKING)
    thought = items_done(found)[0]
    assert thought["type"] == "reasoning"
    assert thought["content"] == [{"type": "reasoning_text", "text": "So..."}]
    assert thought["encrypted_content"] is None
    assert [event["delta"] for event in of_kind(found, "reasoning_text.delta")] == ["So", "..."]


def test_thoughts_are_a_summary_for_whoever_asks_for_one_and_come_back_with_the_next_turn() -> None:
    asked: dict[str, Any] = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    found = events(*THINKING, **asked)
    thought = items_done(found)[0]
    assert thought["summary"] == [{"type": "summary_text", "text": "So..."}]
    assert [event["delta"] for event in of_kind(found, "reasoning_summary_text.delta")] == ["So", "..."]
    carried = [
        {**thought, "summary": []},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    ]
    assert b'"reasoning_content":"So..."' in bytes(read(input=carried).as_chat.fields["messages"])


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_what_was_cut_off_is_incomplete(finish: str, reason: str) -> None:
    found = events(*chat_stream(chunk({"content": "Hel"}), finish=finish))
    last = found[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert last["response"]["usage"]["total_tokens"] == 21


def test_a_call_that_was_cut_off_is_not_done() -> None:
    found = events(*chat_stream(call_chunk(0, call_id="c", name="look", arguments='{"a'), finish="length"))
    assert items_done(found) == []
    assert found[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_refusal_is_told_as_one() -> None:
    found = events(*chat_stream(chunk({"refusal": "No."})))
    assert items_done(found)[0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_whole_answer_has_ids_annotations_and_status() -> None:
    said = whole({"role": "assistant", "content": "Hi", "reasoning_content": "So"})
    Response.model_validate(said)
    thought, message = said["output"]
    assert message["id"].startswith("msg_")
    assert message["content"] == [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]
    assert thought["id"].startswith("rs_")
    assert (said["status"], said["error"], said["incomplete_details"], said["store"]) == (
        "completed",
        None,
        None,
        False,
    )
    assert said["usage"]["cost_toman"] == BILL.cost_toman
    assert whole({"content": "Hi"}, finish="length")["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_whole_answer_with_calls_is_one_with_items() -> None:
    call = {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": ""}}
    said = whole({"content": None, "tool_calls": [call]}, finish="tool_calls")
    Response.model_validate(said)
    [item] = said["output"]
    assert (item["type"], item["call_id"], item["arguments"], item["status"]) == (
        "function_call",
        "call_0",
        "{}",
        "completed",
    )


def test_a_response_repeats_what_was_asked_for_but_not_its_tools() -> None:
    asked: dict[str, Any] = {
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "tools": [{"type": "function", "name": "f"}],
    }
    said = events(*HELLO, **asked)[-1]["response"]
    assert (said["temperature"], said["metadata"], said["tools"]) == (0.5, {"a": "b"}, [])
    assert (said["tool_choice"], said["parallel_tool_calls"], said["truncation"]) == (
        "auto",
        True,
        "disabled",
    )


def test_comments_pass_and_no_done_comes() -> None:
    answer = read(stream=True).read_stream(CHAT, output_bound=0)
    relayed = streamed(answer, b": ping\n\n", *HELLO)
    assert relayed.startswith(b": ping\n\nevent: response.created\n")
    assert b"[DONE]" not in relayed
    assert answer.alive() == b": ping\n\n"


def test_a_stream_may_be_cut_anywhere() -> None:
    written = b"".join(THINKING)
    whole_ones = [event["type"] for event in events(written)]
    for size in (1, 7, 100):
        parts = [written[start : start + size] for start in range(0, len(written), size)]
        assert [event["type"] for event in events(*parts)] == whole_ones


def test_half_a_surrogate_does_not_stop_an_answer() -> None:
    found = events(*chat_stream(b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'))
    assert found[-1]["type"] == "response.completed"


def test_what_is_not_held_for_waits() -> None:
    answer = read(stream=True).read_stream(CHAT, output_bound=0)
    assert answer.allow(4) == b""
    relayed = answer.feed(b"".join(HELLO))
    assert b"response.created" in relayed
    assert b"Hel" in relayed
    assert b"lo!" not in relayed
    assert answer.waits_for == 6
    assert b"lo!" in answer.allow(6)
    assert answer.done


def test_a_late_failure_of_a_chat_is_a_failed_response() -> None:
    answer = read(stream=True).read_stream(CHAT, output_bound=0)
    answer.feed(HELLO[0] + HELLO[1])
    answer.end()
    assert answer.failure is not None
    [failed] = events_of_lines(answer.failed(APIError("upstream_error")) or b"")
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"]["code"] == "server_error"
    assert failed["response"]["usage"] is None


def events_of_lines(written: bytes) -> list[dict[str, Any]]:
    return [json.loads(each.split(b"data: ")[1]) for each in written.split(b"\n\n") if each]
