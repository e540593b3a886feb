from typing import Any

import msgspec
import pytest

from proxy.api.messages.request_fields import for_upstreams, names_for_header, taught_tokens

CLIENT_TOOL = {"name": "read", "input_schema": {"type": "object"}}


def reduced(**fields: Any) -> tuple[dict[str, Any], list[str]]:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    kept, left_out = for_upstreams(raw)
    return {name: msgspec.json.decode(value) for name, value in kept.items()}, left_out


def test_fields_pass_as_they_were_written() -> None:
    raw = {
        "model": msgspec.Raw(b'"m"'),
        "unheard_of": msgspec.Raw(b'{ "a" : 1.50, "b":12345678901234567890123 }'),
    }
    kept, left_out = for_upstreams(raw)
    assert (kept, left_out) == (raw, [])
    assert bytes(kept["unheard_of"]) == b'{ "a" : 1.50, "b":12345678901234567890123 }'


@pytest.mark.parametrize(
    "name",
    [
        "service_tier", "container", "mcp_servers", "speed", "inference_geo", "fallbacks", "n_predict",
        "max_completion_tokens", "n", "thread", "compaction", "billing_policy", "fallback_credit_token",
        "Max_Tokens", "MODEL", "Service_Tier", "INFERENCE_GEO", "Tool_Choice",
    ],
)  # fmt: skip
def test_what_changes_how_much_is_made_who_serves_or_what_it_costs_is_left_out(name: str) -> None:
    assert reduced(**{"model": "m", name: "x"}) == ({"model": "m"}, [name])


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_20250305", "web_search_20260318", "web_fetch_20250910", "code_execution_20260120",
        "mcp_toolset", "tool_search_tool_regex_20251119", "unheard_of_20270101",
    ],
)  # fmt: skip
def test_tools_that_an_upstream_would_run_are_left_out(kind: str) -> None:
    kept, left_out = reduced(tools=[CLIENT_TOOL, {"type": kind, "name": "t"}], tool_choice={"type": "auto"})
    assert kept == {"tools": [CLIENT_TOOL], "tool_choice": {"type": "auto"}}
    assert left_out == [f"tools.{kind}"]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search_20250305", "name": 5},
        {"type": "custom", "Type": "web_search_20250305", "name": "t"},
        {"TYPE": "code_execution_20260120", "name": "t"},
    ],
)
def test_tools_that_an_upstream_would_run_are_found_however_they_are_told(tool: dict[str, Any]) -> None:
    kept, left_out = reduced(tools=[CLIENT_TOOL, tool])
    assert (kept, len(left_out)) == ({"tools": [CLIENT_TOOL]}, 1)


def test_a_tool_may_have_a_parameter_of_any_name() -> None:
    tools = [{"name": "t", "input_schema": {"type": "object", "properties": {"Type": {"type": "string"}}}}]
    assert reduced(tools=tools) == ({"tools": tools}, [])


@pytest.mark.parametrize(
    "kind",
    [None, "custom", "bash_20250124", "text_editor_20250728", "computer_20251124", "memory_20250818"],
)
def test_tools_of_the_client_pass(kind: str | None) -> None:
    tools = [{"type": kind, "name": "t"}]
    assert reduced(tools=tools) == ({"tools": tools}, [])


def test_without_any_tool_left_nothing_speaks_of_tools() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    kept, left_out = reduced(tools=[search], tool_choice={"type": "tool", "name": "web_search"})
    assert (kept, left_out) == ({}, ["tools.web_search_20250305", "tool_choice"])


def test_a_choice_of_a_tool_that_is_left_out_goes_with_it() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    kept, _left_out = reduced(tools=[CLIENT_TOOL, search], tool_choice={"type": "tool", "name": "web_search"})
    assert kept == {"tools": [CLIENT_TOOL]}


def test_tools_that_were_to_be_searched_for_are_at_hand_without_the_search() -> None:
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search"}
    kept, _left_out = reduced(tools=[{**CLIENT_TOOL, "defer_loading": True}, search])
    assert kept == {"tools": [CLIENT_TOOL]}
    deferred = [{**CLIENT_TOOL, "defer_loading": True}]
    assert reduced(tools=deferred) == ({"tools": deferred}, [])


def test_a_second_answer_that_sums_the_prompt_up_is_not_asked_for() -> None:
    edits = [{"type": "clear_tool_uses_20250919"}, {"type": "compact_20260112"}]
    kept, left_out = reduced(context_management={"edits": edits, "keep": 1})
    assert kept == {"context_management": {"edits": edits[:1], "keep": 1}}
    assert left_out == ["context_management.edits.compact"]
    untouched = {"edits": edits[:1]}
    assert reduced(context_management=untouched) == ({"context_management": untouched}, [])


@pytest.mark.parametrize("value", [5, None, {"edits": 5}, "x", [{"type": 5}], {"edits": [5]}])
def test_what_cannot_be_read_is_upstreams_to_refuse(value: Any) -> None:
    assert reduced(tools=value, context_management=value) == (
        {"tools": value, "context_management": value},
        [],
    )


def test_tools_whose_schemas_upstream_knows_lengthen_the_prompt() -> None:
    tools = [CLIENT_TOOL, {"type": "bash_20250124", "name": "bash"}, {"type": "computer_toolset_20260801"}]
    assert taught_tokens(msgspec.Raw(msgspec.json.encode(tools))) == 1_024 + 8_192


def test_names_in_a_header_are_plain_and_few() -> None:
    assert names_for_header(["top_k", "a\r\nset-cookie: b", "top_k", "قیمت", "a,b"]) == [
        "top_k",
        "aset-cookie: b",
        "?",
        "ab",
    ]
    assert names_for_header([str(number) for number in range(25)])[-1] == "5 more"
