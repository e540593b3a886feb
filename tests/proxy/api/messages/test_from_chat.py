"""What a chat becomes on its way to a client of Messages, whole and streamed."""

import json
import re
from typing import Any

import pytest

from proxy.api.chat_completions.answers import whole_answer
from proxy.api.messages.call_ids import read_call_id
from proxy.api.messages.from_chat import ChatAsMessages, translated
from proxy.api.messages.to_chat import to_chat
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.errors import APIError
from proxy.metering.bill import Bill
from tests.fake_upstream import STREAM, chunk
from tests.proxy.api.messages.read_events import checked, read_events

BILL = Bill(Usage(100, 9, cached_tokens=60, cache_write_5m_tokens=10), PriceQuote(10, 30), 1_230)
DONE = b"data: [DONE]\n\n"


def stream_of(*came: bytes, bill: Bill = BILL, stops: frozenset[str] = frozenset(), **settings: Any) -> bytes:
    stream = ChatAsMessages(model="asked", stops=stops, request_id="r", **settings)
    relayed = b"".join(stream.feed(one) for one in came)
    relayed += stream.end()
    assert stream.failure is None
    return relayed + stream.tail(bill)


def told(*came: bytes, **settings: Any) -> dict[str, Any]:
    return checked(stream_of(*came, **settings))


def tool(index: int | None, arguments: str = "", **more: Any) -> bytes:
    function: dict[str, Any] = {"arguments": arguments}
    if "name" in more:
        function["name"] = more.pop("name")
    numbered = {} if index is None else {"index": index}
    return chunk({"tool_calls": [{**numbered, "type": "function", "function": function, **more}]})


# --- streamed ----------------------------------------------------------------------------------------------------


def test_a_text_is_one_block() -> None:
    message = told(*STREAM)
    assert message["content"] == [{"type": "text", "text": "Hello!"}]
    assert (message["model"], message["role"], message["type"]) == ("asked", "assistant", "message")
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


def test_every_answer_has_an_id_of_its_own() -> None:
    first, second = told(*STREAM)["id"], told(*STREAM)["id"]
    assert first != second
    assert first.startswith("msg_")


def test_usage_excludes_the_cache_and_says_the_cost() -> None:
    usage = told(*STREAM)["usage"]
    assert {
        "input_tokens": 30,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 9,
        "cost_toman": 1_230 / 10**7,
    }.items() <= usage.items()


def test_text_is_relayed_as_it_comes() -> None:
    stream = ChatAsMessages(model="asked", stops=frozenset(), request_id="r")
    assert [event["type"] for event in read_events(stream.feed(STREAM[0]))] == ["message_start"]
    types = [event["type"] for event in read_events(stream.feed(STREAM[1]))]
    assert types == ["content_block_start", "content_block_delta"]
    assert [event["type"] for event in read_events(stream.feed(STREAM[2]))] == ["content_block_delta"]


def test_comments_of_an_upstream_begin_no_message() -> None:
    stream = ChatAsMessages(model="asked", stops=frozenset(), request_id="r")
    assert stream.feed(b": working\n\n") == b""


def test_thinking_comes_first_with_a_signature() -> None:
    message = told(
        chunk({"role": "assistant", "reasoning_content": "h"}),
        chunk({"reasoning_content": "m"}),
        chunk({"content": "Yes"}),
        chunk({}, finish="stop"),
        DONE,
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Yes"},
    ]


def test_a_call_has_its_arguments_in_pieces_and_a_new_id() -> None:
    message = told(
        chunk({"content": "Reading."}),
        tool(0, name="read", id="call_0"),
        tool(0, '{"pa'),
        tool(0, 'th":"a"}'),
        chunk({}, finish="tool_calls"),
        DONE,
    )
    said, call = message["content"]
    assert said == {"type": "text", "text": "Reading."}
    assert (call["name"], call["input"]) == ("read", {"path": "a"})
    assert call["id"].startswith("toolu_")
    assert message["stop_reason"] == "tool_use"


def test_calls_that_are_mixed_are_told_one_after_the_other() -> None:
    message = told(
        tool(0, '{"a":', name="one", id="call_0"),
        tool(1, '{"b":', name="two", id="call_1"),
        tool(0, "1}"),
        chunk({"content": "Both."}),
        tool(1, "2}"),
        chunk({}, finish="tool_calls"),
        DONE,
    )
    one, two, said = message["content"]
    assert (one["name"], one["input"]) == ("one", {"a": 1})
    assert (two["name"], two["input"]) == ("two", {"b": 2})
    assert said["text"] == "Both."
    assert one["id"] != two["id"]


def test_calls_of_the_same_number_are_told_apart_by_their_ids() -> None:
    message = told(
        tool(0, '{"a":', name="one", id="x"),
        tool(0, "1}"),
        tool(0, '{"b":', name="two", id="y"),
        tool(0, "2", name="two", id="y"),
        tool(0, "}"),
        tool(0, "{}", name="two", id="z"),
        chunk({}, finish="tool_calls"),
        DONE,
    )
    assert [(call["name"], call["input"]) for call in message["content"]] == [
        ("one", {"a": 1}),
        ("two", {"b": 2}),
        ("two", {}),
    ]
    assert len({call["id"] for call in message["content"]}) == 3


def test_calls_without_numbers_and_a_stop_are_calls_all_the_same() -> None:
    message = told(
        tool(None, "{}", name="one", id="a"),
        tool(None, "{}", name="two", id="b"),
        chunk({}, finish="stop"),
        DONE,
        repairs=True,
    )
    assert [block["name"] for block in message["content"]] == ["one", "two"]
    assert message["stop_reason"] == "tool_use"


def test_a_call_without_arguments_has_an_empty_input() -> None:
    message = told(tool(0, name="now", id="x"), chunk({}, finish="tool_calls"), DONE)
    assert message["content"][0]["input"] == {}


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "end_turn"),  # no tool was called
        ("function_call", "end_turn"),
        ("eos", "end_turn"),
    ],
)
def test_an_end_has_its_reason(finish: str, reason: str) -> None:
    assert told(chunk({"content": "a"}), chunk({}, finish=finish), DONE)["stop_reason"] == reason


@pytest.mark.parametrize("name", ["stop_reason", "matched_stop"])
def test_the_stop_sequence_is_told_where_it_is_known(name: str) -> None:
    last = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", name: "END"}]}).encode()
    came = (chunk({"content": "a"}), b"data: %b\n\n" % last, DONE)
    message = told(*came, stops=frozenset({"END"}))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    assert told(*came)["stop_reason"] == "end_turn"  # not one that was asked for


def test_an_answer_without_an_end_of_its_own_gets_one() -> None:
    assert told(chunk({"content": "a"}), DONE)["stop_reason"] == "end_turn"


def test_half_a_surrogate_passes() -> None:
    half = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'
    relayed = stream_of(half, chunk({}, finish="stop"), DONE)
    assert b'"text":"\\ud83d"' in relayed


def test_an_answer_that_is_cut_ends_for_want_of_length() -> None:
    stream = ChatAsMessages(model="asked", stops=frozenset(), request_id="r")
    relayed = stream.feed(tool(0, '{"a', name="one"))
    stream.cut()
    ended = relayed + stream.tail(BILL)
    assert [event["type"] for event in read_events(ended)] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert read_events(ended)[-2]["delta"]["stop_reason"] == "max_tokens"


def test_an_answer_for_which_no_more_is_held_says_why() -> None:
    stream = ChatAsMessages(model="asked", stops=frozenset(), request_id="r")
    relayed = stream.feed(chunk({"content": "a"}))
    stream.cut()
    delta, error = read_events(relayed + stream.tail(BILL, refused=APIError("insufficient_balance")))[-2:]
    assert delta["usage"]["output_tokens"] == 9
    assert error == {
        "type": "error",
        "error": {
            "type": "billing_error",
            "message": "Insufficient wallet balance. Please top up your account.",
            "code": "insufficient_balance",
            **APIError("insufficient_balance").advice(),
        },
        "request_id": "r",
    }


def test_what_is_not_paid_for_waits_in_events_too() -> None:
    stream = ChatAsMessages(model="asked", stops=frozenset(), request_id="r")
    stream.allow(3)
    assert b"Hel" in stream.feed(STREAM[1])
    assert stream.feed(STREAM[2]) == b""
    assert stream.waits_for == 6
    assert [event["delta"]["text"] for event in read_events(stream.allow(None))] == ["lo!"]


SIGNED = {"google": {"thought_signature": "c2lnbmVk/+=="}}


def test_what_an_upstream_wants_back_with_a_call_comes_back_with_it() -> None:
    came = (tool(0, "{}", name="one", id="a", extra_content=SIGNED), chunk({}, finish="tool_calls"), DONE)
    (streamed,) = told(*came)["content"]
    calls = [{"id": "a", "function": {"name": "one", "arguments": "{}"}, "extra_content": SIGNED}]
    (as_one,) = whole({"tool_calls": calls}, "tool_calls")["content"]
    for call in (streamed, as_one):
        assert re.fullmatch("[a-zA-Z0-9_-]+", call["id"])
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "ok"}
        messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        sent, answered = to_chat({"model": "m", "messages": messages})[0]["messages"]
        assert sent["tool_calls"][0]["extra_content"] == SIGNED
        assert sent["tool_calls"][0]["id"] == answered["tool_call_id"] == call["id"].partition("_x_")[0]
        assert len(answered["tool_call_id"]) <= 40  # OpenAI takes no longer ones


@pytest.mark.parametrize("given", ["toolu_1", "a_x_", "a_x_!", "a_x_bm8", "a_x_NQ", "_x_", ""])
def test_ids_that_carry_nothing_stay_as_they_are(given: str) -> None:
    assert read_call_id(given) == (given, None)


# --- whole -------------------------------------------------------------------------------------------------------


def whole(message: dict[str, Any], finish: str = "stop", **choice: Any) -> dict[str, Any]:
    body = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}]}
    answer = whole_answer(json.dumps(body).encode(), model="asked")
    read: dict[str, Any] = json.loads(
        translated(answer, model="asked", stops=frozenset({"END"})).for_customer(BILL)
    )
    return read


def test_a_whole_answer_has_all_that_sdks_need() -> None:
    message = whole({"role": "assistant", "content": "Hello!", "reasoning_content": "hm"})
    assert message.pop("id").startswith("msg_")
    assert message.pop("usage")["output_tokens"] == 9
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "asked",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "Hello!"},
        ],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ({"a": 1}, {"a": 1}),
        ('{"a":', {"arguments": '{"a":'}),
        ("[1]", {"arguments": "[1]"}),
    ],
)
def test_the_input_of_a_call_is_an_object(arguments: Any, given: dict[str, Any]) -> None:
    calls = [{"id": "call_0", "type": "function", "function": {"name": "go", "arguments": arguments}}]
    message = whole({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")
    (call,) = message["content"]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "go", given)
    assert message["stop_reason"] == "tool_use"


def test_calls_side_by_side_have_ids_of_their_own() -> None:
    calls = [{"index": 0, "function": {"name": name, "arguments": f'"{name}"'}} for name in ("one", "two")]
    one, two = whole({"tool_calls": calls}, "stop")["content"]
    assert (one["name"], two["name"]) == ("one", "two")
    assert [call["input"] for call in (one, two)] == [{"arguments": '"one"'}, {"arguments": '"two"'}]
    assert one["id"] != two["id"]


def test_a_whole_answer_tells_its_stop_sequence() -> None:
    message = whole({"content": "a"}, stop_reason="END")
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_is_said() -> None:
    message = whole({"content": None, "refusal": "No."}, "content_filter")
    assert message["content"] == [{"type": "text", "text": "No."}]
    assert message["stop_reason"] == "refusal"
