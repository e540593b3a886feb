"""Kinds of upstreams as declared rules: which fields are left out, and how tool calls are put right."""

from typing import Any

import pytest

from proxy.api.chat_completions.repairs import ChunkRepairs, repair_whole
from proxy.catalogue import quirks
from proxy.catalogue.models import Upstream
from proxy.catalogue.quirks import NEEDED_FIELDS, QUIRKS
from proxy.catalogue.request_fields import LEFT_OUT


def test_every_kind_that_an_admin_can_choose_has_its_rules() -> None:
    assert set(QUIRKS) == set(Upstream.Kind.values)


def test_no_rule_leaves_out_what_bounds_or_bills_an_answer() -> None:
    assert all(not rules.strip_fields & NEEDED_FIELDS for rules in QUIRKS.values())
    assert quirks.rules_for(kind="openai", strip_fields="max_tokens, seed, n").strip_fields == LEFT_OUT | {
        "seed"
    }


def test_an_admins_fields_come_on_top_of_the_kinds() -> None:
    rules = quirks.rules_for(kind="gemini", strip_fields="logprobs top_logprobs")
    assert rules.strip_fields == QUIRKS["gemini"].strip_fields | {"logprobs", "top_logprobs"}
    assert rules.repairs_answers


def test_a_kind_that_this_version_does_not_know_is_no_kind() -> None:
    with pytest.raises(quirks.UnknownKind, match="'of tomorrow'"):
        quirks.rules_for(kind="of tomorrow", strip_fields="")


INVALID_KEY = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [{"@type": "x", "reason": "API_KEY_INVALID"}, {"locale": "en-US"}],
}


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (INVALID_KEY, "API_KEY_INVALID"),
        (
            {"status": "FAILED_PRECONDITION", "message": "User location is not supported"},
            "FAILED_PRECONDITION",
        ),
        ({"status": "INVALID_ARGUMENT", "details": [{"reason": "badRequest"}]}, None),
        ({"status": ["FAILED_PRECONDITION"], "details": "API_KEY_INVALID"}, None),
        ({}, None),
    ],
)
def test_what_gemini_says_of_the_operator_is_told_from_what_it_says_of_the_request(
    error: dict[str, Any], fault: str | None
) -> None:
    assert quirks.operators_fault(error, QUIRKS["gemini"]) == fault
    assert quirks.operators_fault(error, QUIRKS["openai"]) is None


@pytest.mark.parametrize(
    ("text", "unfit"),
    [
        ("", []),
        ("store, top_k seed,,x", []),
        ("store, messages", ["messages"]),
        ("a-b n 9x متن", ["a-b", "n", "9x", "متن"]),
        ("x" * 65, ["x" * 65]),
    ],
)
def test_only_plain_names_of_fields_that_are_not_needed_can_be_left_out(text: str, unfit: list[str]) -> None:
    assert quirks.unfit_fields(text) == unfit


def chunk(*calls: dict[str, Any], finish: str | None = None, choice: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": choice, "delta": {"tool_calls": list(calls)}, "finish_reason": finish}]}


def call(name: str = "", arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": name, "arguments": arguments}}


def numbers(*chunks: dict[str, Any]) -> list[int]:
    """The indexes of all deltas after repairs, in order."""
    repairs = ChunkRepairs()
    for one in chunks:
        repairs.repair(one)
    return [delta["index"] for one in chunks for delta in one["choices"][0]["delta"]["tool_calls"]]


def test_calls_without_an_index_are_numbered_by_their_ids() -> None:
    assert numbers(chunk(call("f", id="a"), call("f", id="b")), chunk(call("g", id="c"))) == [0, 1, 2]
    assert numbers(chunk(call("f", id="a")), chunk(call("g", id="b")), chunk(call("", id="a"))) == [0, 1, 0]


def test_calls_side_by_side_that_share_one_index_are_told_apart() -> None:
    assert numbers(chunk(call("f", id="a", index=0)), chunk(call("f", id="b", index=0))) == [0, 1]


def test_more_arguments_belong_to_the_call_that_they_name_or_to_the_last_one() -> None:
    def two() -> dict[str, Any]:
        return chunk(call("f", id="a"), call("f", id="b"))

    def more(**fields: Any) -> dict[str, Any]:
        return chunk({"function": {"arguments": "}"}, **fields})

    assert numbers(chunk(call("f", id="a")), more()) == [0, 0]
    assert numbers(two(), more(), more()) == [0, 1, 1, 1]
    assert numbers(two(), more(index=0)) == [0, 1, 0]


def test_calls_without_an_id_are_told_apart_by_their_names() -> None:
    assert numbers(chunk(call("f")), chunk(call("f"))) == [0, 1]


def test_each_choice_has_numbers_of_its_own() -> None:
    repairs = ChunkRepairs()
    first, second = chunk(call("f", id="a")), chunk(call("f", id="b"), choice=1)
    assert repairs.repair(first)
    assert repairs.repair(second)
    assert second["choices"][0]["delta"]["tool_calls"][0]["index"] == 0


def test_stop_becomes_tool_calls_only_where_calls_were_made() -> None:
    repairs, end = ChunkRepairs(), {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    assert not repairs.repair(end)
    repairs.repair(chunk(call("f", id="a")))
    assert repairs.repair(end)
    assert end["choices"][0]["finish_reason"] == "tool_calls"


def test_what_is_right_already_is_left_as_it_is() -> None:
    repairs = ChunkRepairs()
    assert not repairs.repair(chunk(call("f", id="a", index=0), call("f", id="b", index=1)))
    assert not repairs.repair(chunk({"index": 1, "function": {"arguments": "{"}}))
    assert not repairs.repair(chunk(finish="length"))


def test_a_role_stands_in_the_first_delta_of_a_choice_only() -> None:
    repairs = ChunkRepairs()
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": number, "delta": {"role": "assistant", "content": "a"}}]}
        for number in (0, 0, 1)
    ]
    assert [repairs.repair(one) for one in chunks] == [False, True, False]
    assert ["role" in one["choices"][0]["delta"] for one in chunks] == [True, False, True]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"choices": None},
        {"choices": [None, {"delta": None}, {"delta": {"tool_calls": [5]}}]},
        {"choices": {}},
    ],
)
def test_odd_chunks_pass(odd: dict[str, Any]) -> None:
    assert not ChunkRepairs().repair(odd)
    repair_whole(odd)


def test_a_whole_answer_with_calls_ends_in_tool_calls() -> None:
    answer: dict[str, Any] = {
        "choices": [
            {"message": {"tool_calls": [call("f", id="a")]}, "finish_reason": "stop"},
            {"message": {"content": "hi"}, "finish_reason": "stop"},
            {"message": {"tool_calls": [call("f", id="a")]}, "finish_reason": "length"},
        ]
    }
    repair_whole(answer)
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["tool_calls", "stop", "length"]
