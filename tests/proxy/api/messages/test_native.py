"""Answers of upstreams that speak Messages: relayed as they came, paid for as they report."""

import json
from typing import Any

import pytest

from proxy.api.messages.events import event
from proxy.api.messages.native import whole_answer
from proxy.api.messages.native_stream import NativeStream
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.errors import APIError
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from tests.proxy.api.messages.fake_messages import ANSWER, BLOCKS, END, START, STREAM, USAGE
from tests.proxy.api.messages.read_events import checked, read_events

BILL = Bill(Usage(130, 9, cached_tokens=100, cache_write_1h_tokens=20), PriceQuote(10, 30), 1_570)


def stream(*, output_bound: int = 0) -> NativeStream:
    return NativeStream(model="asked", output_bound=output_bound, request_id="r")


def fed(*came: bytes, output_bound: int = 0) -> tuple[NativeStream, bytes]:
    answer = stream(output_bound=output_bound)
    return answer, b"".join(answer.feed(one) for one in came)


def test_events_are_relayed_verbatim_but_for_the_model_and_the_usage() -> None:
    answer, relayed = fed(*STREAM)
    assert relayed == START.replace(b'"up-model"', b'"asked"') + BLOCKS
    assert answer.done
    message = checked(relayed + answer.tail(BILL))
    assert message["id"] == "msg_upstream"
    assert message["stop_reason"] == "tool_use"
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
    assert message["content"][0]["signature"] == "c2ln"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_events_that_are_cut_anywhere_are_the_same(size: int) -> None:
    whole = b"".join(STREAM)
    _answer, relayed = fed(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert relayed == fed(*STREAM)[1]


def test_usage_comes_in_two_events_and_is_read_as_one() -> None:
    answer, _relayed = fed(*STREAM)
    assert answer.is_final
    assert answer.report is not None
    assert answer.report.usage == Usage(130, 9, cached_tokens=100, cache_write_1h_tokens=20)
    assert answer.report.contradiction is None


def test_usage_of_the_output_alone_at_the_end_is_enough() -> None:
    end = event(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    )
    answer, _relayed = fed(START, BLOCKS, end)
    assert answer.report is not None
    assert answer.report.usage == Usage(130, 9, cached_tokens=100, cache_write_1h_tokens=20)


def test_a_figure_that_falls_was_left_out() -> None:
    usage = {"input_tokens": 0, "cache_read_input_tokens": None, "output_tokens": 9}
    end = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
    answer, _relayed = fed(START, BLOCKS, end)
    assert answer.report is not None
    assert answer.report.usage.prompt_tokens == 130


def test_a_prompt_of_nothing_at_the_end_takes_nothing_back() -> None:
    nothing = {
        "input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    }  # fmt: skip
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {**nothing, "output_tokens": 9},
    }
    answer, _relayed = fed(START, BLOCKS, event(end), event({"type": "message_stop"}))
    assert answer.report is not None
    assert answer.report.usage == Usage(130, 9, cached_tokens=100, cache_write_1h_tokens=20)


def test_a_prompt_that_is_told_only_at_the_end_counts() -> None:
    usage = {"input_tokens": 2, "cache_read_input_tokens": 10, "output_tokens": 9}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    begun = json.loads(START.split(b"data: ")[1])
    begun["message"]["usage"] = {"input_tokens": 0, "output_tokens": 0}
    answer, _relayed = fed(event(begun), BLOCKS, event(end), event({"type": "message_stop"}))
    assert answer.report is not None
    assert answer.report.usage == Usage(12, 9, cached_tokens=10)


def test_in_the_middle_the_prompt_is_reported_and_the_output_is_what_is_seen() -> None:
    answer, _relayed = fed(START, BLOCKS)
    assert not answer.is_final
    assert answer.report is not None
    usage = answer.report.usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (130, 100)
    assert usage.completion_tokens == answer.size.estimate > 1


def test_the_last_usage_is_what_was_billed_beside_what_upstream_says() -> None:
    answer, _relayed = fed(*STREAM)
    delta, stop = read_events(answer.tail(BILL))
    assert delta["usage"] == {
        **USAGE,
        "output_tokens": 9,
        "cost_toman": 1_570 / 10**7,
        "cost_details": BILL.cost_details(),
    }
    assert stop == {"type": "message_stop"}


def test_the_operators_price_never_leaves() -> None:
    priced = json.loads(START.split(b"data: ")[1])
    priced["message"]["usage"]["cost"] = 0.5
    priced["message"]["provider_cost"] = 0.5
    end = event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 9, "cost": 0.5},
            "billing": {"usd": 1},
        }
    )
    stop = event({"type": "message_stop", "metrics": {"cost_usd": 0.5}})
    answer, relayed = fed(event(priced), BLOCKS, end, stop)
    relayed += answer.tail(BILL)
    assert b"0.5" not in relayed
    assert b'"billing"' not in relayed
    assert answer.report is not None
    assert answer.report.upstream_cost_nanodollars == 500_000_000


def test_what_a_tool_is_asked_about_prices_stays() -> None:
    block = {"type": "tool_use", "id": "t", "name": "pay", "input": {"cost": 5, "price": 1}}
    answer = whole_answer(json.dumps({**ANSWER, "content": [block]}).encode(), model="asked")
    assert json.loads(answer.for_customer(BILL))["content"] == [block]


def test_a_start_alone_is_no_beginning() -> None:
    answer, relayed = fed(START, b'event: ping\ndata: {"type": "ping"}\n\n')
    assert b"message_start" in relayed
    assert not answer.begun
    assert answer.said_something == 0


@pytest.mark.parametrize(
    "bad",
    [
        event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        b'event: error\ndata: {"message":"gone"}\n\n',
        b"event: error\n\n",
        b"data: 5\n\n",
        b'data: {"choices":[]}\n\n',
        b'data: {"type":"a\\nevent: b"}\n\n',
        b'{"type":"error","error":{"type":"api_error","message":"x"}}\n\n',
        b"<html>\n\n",
        event({"type": "message_delta", "delta": {"stop_reason": "engine_error"}}),
        START,
    ],
)
def test_what_is_no_event_of_a_message_fails(bad: bytes) -> None:
    answer, _relayed = fed(START, BLOCKS, bad)
    assert answer.failure is not None
    assert fed(bad + bad if bad == START else bad)[0].failure is not None


def test_an_error_in_the_stream_keeps_its_status() -> None:
    error = {"type": "invalid_request_error", "message": "No."}
    assert fed(event({"type": "error", "error": error}))[0].failure.status == 400  # type: ignore[union-attr]


@pytest.mark.parametrize("came", [b"", START, START + BLOCKS, START + BLOCKS + END[:40]])
def test_an_end_in_the_middle_is_a_failure(came: bytes) -> None:
    answer, _relayed = fed(came)
    answer.end()
    assert answer.failure is not None
    assert answer.broke_off == (not came or came.endswith(b"\n\n"))


def test_an_end_without_its_last_event_is_whole_once_it_has_a_reason() -> None:
    answer, relayed = fed(START, BLOCKS, END)
    relayed += answer.end()
    assert answer.failure is None
    assert checked(relayed + answer.tail(BILL))["stop_reason"] == "tool_use"


def test_events_without_names_and_over_several_lines_are_named() -> None:
    bare = b'data: {"type":"content_block_start",\ndata: "index":0,"content_block":{"type":"text","text":""}}\n\n'
    _answer, relayed = fed(START, bare)
    assert read_events(relayed)[-1]["type"] == "content_block_start"


def test_nothing_is_relayed_beyond_what_is_allowed() -> None:
    def text(said: str) -> bytes:
        delta = {"type": "text_delta", "text": said}
        return event({"type": "content_block_delta", "index": 0, "delta": delta})

    answer = stream()
    answer.allow(3)
    assert b"abc" in answer.feed(START + text("abc"))
    assert answer.feed(text("de") + text("f")) == b""
    assert answer.waits_for == 5
    assert answer.allow(None) == text("de") + text("f")
    bounded, relayed = fed(START, text("abcdefghijklmnop"), text("qrstuvwxyz" * 4), output_bound=2)
    assert b"qrst" not in relayed
    assert bounded.is_cut
    assert read_events(bounded.tail(BILL))[0]["delta"]["stop_reason"] == "max_tokens"


def test_a_block_that_is_open_when_the_answer_is_cut_is_closed() -> None:
    opened = event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    answer, _relayed = fed(START, opened)
    answer.cut()
    types = [one["type"] for one in read_events(answer.tail(BILL, refused=APIError("insufficient_balance")))]
    assert types == ["content_block_stop", "message_delta", "error"]


# --- whole -------------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_as_upstream_wrote_it_but_for_model_and_usage() -> None:
    body = b'{"type":"message",  "id":"msg_1","role":"assistant","model":"up-model","unheard_of":1.50,'
    body += (
        b'"content":[{"type":"text", "text":"Hi"}],"stop_reason":"end_turn","usage":%b}'
        % json.dumps(USAGE).encode()
    )
    answer = whole_answer(body, model="asked")
    assert answer.report is not None
    assert answer.report.usage.prompt_tokens == 130
    told = answer.for_customer(BILL)
    assert b'"unheard_of":1.50' in told
    assert b'"content":[{"type":"text", "text":"Hi"}]' in told
    assert json.loads(told)["model"] == "asked"
    assert json.loads(told)["usage"]["cost_toman"] == 1_570 / 10**7


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "error", "error": {"type": "api_error", "message": "x"}},
        {"detail": "dead"},
        {"type": "message"},
        {"type": "message", "content": []},
        {"type": "message", "content": [], "stop_reason": "engine_failed"},
        [],
        "x",
    ],
)
def test_what_is_no_message_fails(bad: Any) -> None:
    with pytest.raises(BadAnswer):
        whole_answer(json.dumps(bad).encode(), model="asked")
