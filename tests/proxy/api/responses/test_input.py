"""What becomes of a Responses request on its way to an upstream that speaks chat."""

from typing import Any

import orjson
import pytest

from proxy.api.responses.request import read_request
from proxy.api.responses_to_chat.tools import flat_name
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from tests.proxy.api.responses.reading import CHAT, NATIVE, read, sent
from tests.proxy.factories import served_model

USER = {"role": "user", "content": "Hi"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}


def messages(*items: Any, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(read(input=list(items), **fields))["messages"]
    return found


def said(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def call(call_id: str, name: str = "look", **members: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **members}


def output(call_id: str, result: Any = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": result}


def called(call_id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_text_is_one_message_of_the_user_behind_the_instructions() -> None:
    assert sent(read(input="Hi", instructions="Be kind."))["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    ]


def test_developers_first_messages_are_one_system_message() -> None:
    first = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "A"}]}
    assert messages(first, {"role": "system", "content": "B"}, USER, first, instructions="I") == [
        {"role": "system", "content": "I\n\nA\n\nB"},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "A"},
    ]


def test_a_lone_text_part_is_written_like_a_text() -> None:
    parts = {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    assert messages(parts) == messages(USER)


def test_parts_of_several_kinds_keep_their_order() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}
    [message] = messages({"role": "user", "content": [{"type": "input_text", "text": "Hi"}, IMAGE, file]})
    assert message["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}},
    ]


def test_what_a_model_wrote_in_one_turn_is_one_message() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "So"}],
    }
    text = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Look:"}]}
    assert messages(USER, thought, text, call("a"), call("b"), output("b", "2"), output("a", "1"), USER) == [
        USER,
        {
            "role": "assistant",
            "content": "Look:",
            "reasoning_content": "So",
            "tool_calls": [called("a"), called("b")],
        },
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        USER,
    ]


@pytest.mark.parametrize("content", ["Hello.", [{"type": "output_text", "text": "Hello."}]])
def test_what_the_model_said_needs_no_type(content: Any) -> None:
    """llama.cpp's own /v1/responses refuses it (findings/llamacpp-responses-assistant-without-type.sh)."""
    said = {"role": "assistant", "content": content}
    assert messages(USER, said, USER) == [USER, {"role": "assistant", "content": "Hello."}, USER]


def test_calls_one_after_the_other_stay_turns_of_their_own() -> None:
    roles = [each["role"] for each in messages(USER, call("a"), output("a"), call("b"), output("b"))]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]


def test_thoughts_that_others_have_sealed_are_left_out() -> None:
    sealed = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAAA"}
    assert messages(USER, sealed, call("a"), output("a"))[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [called("a")],
    }


def test_a_reference_to_a_thought_is_left_out_and_to_anything_else_is_refused() -> None:
    thought = {"type": "item_reference", "id": "rs_1"}
    request = read(input=[USER, thought, call("a"), output("a")])
    for route in (CHAT, NATIVE):
        assert request.left_out(route) == ("input.reasoning",)
    assert sent(request, NATIVE)["input"] == [USER, call("a"), output("a")]
    assert [each["role"] for each in sent(request)["messages"]] == ["user", "assistant", "tool"]
    with pytest.raises(APIError, match="store: false") as caught:
        read(input=[USER, {"type": "item_reference", "id": "msg_1"}])
    assert caught.value.param == "input[1]"


def test_ids_that_clients_make_are_not_looked_at() -> None:
    assert messages({"type": "message", "id": "msg_mine", "status": "completed", **USER}) == [USER]


def test_a_result_in_parts_is_text_and_its_images_follow() -> None:
    result = [{"type": "input_text", "text": "seen"}, IMAGE]
    assert messages(USER, call("a"), call("b"), output("a", result), output("b"), USER)[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "seen"},
        {"role": "tool", "tool_call_id": "b", "content": "ok"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}
            ],
        },
        USER,
    ]


def test_custom_calls_and_their_outputs_are_a_functions() -> None:
    items = [
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": 'say "x"'},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"},
    ]
    assert messages(USER, *items)[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [called("a", "patch", '{"input":"say \\"x\\""}')],
        },
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]


def test_flat_tools_become_nested_ones() -> None:
    schema = {"type": "object", "properties": {"price": {"type": "number"}}}
    tools: list[Any] = [
        {"type": "function", "name": "buy", "description": "Buys.", "parameters": schema, "strict": True},
        {"type": "namespace", "name": "shop", "description": "", "tools": [{"type": "function", "name": "sell"}]},
        {"type": "custom", "name": "patch", "description": "Patches.",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "web_search"},
        {"type": "tool_search", "execution": "client"},
    ]  # fmt: skip
    request = read(tools=tools)
    asked = sent(request)["tools"]
    assert asked[0] == {
        "type": "function",
        "function": {"name": "buy", "description": "Buys.", "parameters": schema, "strict": True},
    }
    assert asked[1] == {"type": "function", "function": {"name": "shop__sell"}}
    patch = asked[2]["function"]
    assert patch["description"] == "Patches.\n\nThe input has to match this grammar (lark):\nstart: x"
    assert patch["parameters"]["required"] == ["input"]
    assert len(asked) == 3
    assert request.left_out(CHAT) == ("tools.web_search", "tools.tool_search")


def test_a_namespaced_call_keeps_the_name_that_its_tool_has() -> None:
    tools = [{"type": "namespace", "name": "shop", "tools": [{"type": "function", "name": "sell"}]}]
    asked = sent(read(tools=tools, input=[USER, call("a", "sell", namespace="shop"), output("a")]))
    assert asked["messages"][1]["tool_calls"][0]["function"]["name"] == asked["tools"][0]["function"]["name"]
    long = flat_name("n" * 60, "m" * 60)
    assert len(long) == 64
    assert long != flat_name("n" * 61, "m" * 59)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "custom", "name": "g"}, {"type": "function", "function": {"name": "g"}}),
        ({"type": "web_search"}, None),
        (None, None),
    ],
)
def test_a_choice_of_tools_is_told_in_chats_words(choice: Any, expected: Any) -> None:
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}, {"type": "web_search"}]
    assert sent(read(tools=tools, tool_choice=choice)).get("tool_choice") == expected


def test_only_allowed_tools_are_sent() -> None:
    tools = [{"type": "function", "name": "f"}, {"type": "function", "name": "g"}]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    asked = sent(read(tools=tools, tool_choice=allowed))
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["g"]
    assert asked["tool_choice"] == "required"


def test_without_a_tool_that_it_can_have_nothing_speaks_of_tools() -> None:
    asked = sent(read(tools=[{"type": "web_search"}], tool_choice="required", parallel_tool_calls=False))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & asked.keys()


def test_options_have_their_names_in_chat() -> None:
    schema = {"type": "object"}
    asked = sent(
        read(
            text={
                "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True},
                "verbosity": "low",
            },
            reasoning={"effort": "high", "summary": "auto"},
            parallel_tool_calls=False,
            tools=[{"type": "function", "name": "f"}],
            max_output_tokens=50,
            prompt_cache_key="k",
            safety_identifier="s",
            user="u",
            metadata={"a": "b"},
            temperature=0.5,
            store=True,
        )
    )
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    assert (asked["verbosity"], asked["reasoning_effort"], asked["parallel_tool_calls"]) == (
        "low",
        "high",
        False,
    )
    assert (asked["prompt_cache_key"], asked["safety_identifier"], asked["user"]) == ("k", "s", "u")
    assert asked["max_tokens"] == 9
    assert not {"metadata", "store", "text", "reasoning", "max_output_tokens", "input"} & asked.keys()
    assert sent(read(text={"format": {"type": "json_object"}}))["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent(read(text={"format": {"type": "text"}}))


def test_the_lowest_of_all_caps_counts() -> None:
    assert read(max_output_tokens=50).output_limit == 50
    assert read(max_output_tokens=50, max_tokens=20).output_limit == 20
    assert read().output_limit is None


def test_what_has_no_effect_is_not_named_as_left_out() -> None:
    fields: dict[str, Any] = {
        "store": False, "background": False, "truncation": "disabled", "service_tier": "auto", "metadata": {},
        "include": ["reasoning.encrypted_content"], "max_tool_calls": None, "previous_response_id": None,
    }  # fmt: skip
    assert read(**fields).left_out(CHAT) == ()
    named = {"store": True, "include": ["message.output_text.logprobs"], "strange": 1, "x\r\ny": 1}
    assert read(**named).left_out(CHAT) == ("store", "include", "strange", "...")


def test_items_of_other_makers_tools_are_left_out_by_name() -> None:
    request = read(input=[USER, {"type": "web_search_call", "id": "ws_1", "status": "completed"}])
    assert sent(request)["messages"] == [USER]
    assert request.left_out(CHAT) == ("input.web_search_call",)
    assert request.left_out(NATIVE) == ()


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]},
            "input[0].content[0].image_url",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]},
            "input[0].content[0].file_data",
        ),
        (said({"type": "hologram"}), "input[0].content[0]"),
        ({"role": "user", "content": 5}, "input[0].content"),
        ({"role": "critic", "content": "x"}, "input[0].role"),
        ({"type": "compaction", "id": "c", "encrypted_content": "x"}, "input[0]"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[0].call_id"),
        (5, "input[0]"),
    ],
)
def test_what_no_chat_can_take_is_a_problem_of_chats_alone(item: Any, param: str) -> None:
    request = read(input=[item])
    with pytest.raises(APIError) as caught:
        request.body_for(CHAT, output_limit=9)
    assert (caught.value.param, caught.value.status) == (param, 400)
    assert sent(request, NATIVE)["input"] == [item]


def test_what_is_counted_holds_for_both_ways() -> None:
    sealed = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x" * 10_000}
    assert read(input=[USER, sealed]).chat.prompt.text_bytes > 10_000
    stored = {"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}
    assert read(input=[stored]).chat.prompt.media_parts == 1
    shot = {
        "type": "computer_call_output",
        "call_id": "c",
        "output": {"type": "computer_screenshot", "file_id": "f"},
    }
    assert read(input=[USER, shot]).chat.prompt.media_parts == 1
    escaped = orjson.dumps({"model": "m", "input": [USER, shot]}).replace(b"file_id", b"file\\u005fid")
    request = read_request(read_payload(escaped), model="m")
    assert request.chat.prompt.media_parts == 1


def test_an_image_whose_name_is_escaped_is_not_known_again() -> None:
    long = [{"role": "user", "content": "word " * 5_000}, {"role": "user", "content": [IMAGE]}]
    escaped = orjson.dumps({"model": "m", "input": long}).replace(b"image_url", b"\\u0069mage_url")
    request = read_request(read_payload(escaped), model="m")
    assert (request.conversation, read(input=long[:1]).conversation is None) == (None, False)


def test_inputs_are_named_as_the_client_knows_them() -> None:
    request = read(
        instructions="I",
        input=[USER, {"role": "user", "content": [IMAGE]}],
        tools=[{"type": "function", "name": "f"}],
    )
    assert request.inputs == {"image": "input[1].content[0]", "tools": "tools"}


def test_a_bad_limit_is_refused_by_its_name() -> None:
    for limit in (0, -1, "many", 2**40):
        with pytest.raises(APIError) as caught:
            read(max_output_tokens=limit)
        assert caught.value.param == "max_output_tokens"


def test_disguised_fields_reach_no_upstream() -> None:
    request = read(Max_Output_Tokens=10**6, Service_Tier="priority", STORE=True, Input="x")
    assert sent(request, NATIVE).keys() == {"model", "input", "store", "max_output_tokens"}


def test_a_problem_of_chats_is_told_at_once_where_all_upstreams_are_chats() -> None:
    request = read(input=[said({"type": "hologram"})])
    with pytest.raises(APIError, match="this kind of part"):
        request.served_by(served_model(routes=(CHAT,)))
    request.served_by(served_model(routes=(CHAT, NATIVE)))
    read().served_by(served_model(routes=(CHAT,)))


def test_calls_of_tools_that_only_some_models_know_stay_in_the_conversation() -> None:
    shell = {"type": "local_shell_call", "call_id": "a", "action": {"type": "exec", "command": ["ls"]}}
    seen = {"type": "local_shell_call_output", "call_id": "a", "output": "files"}
    assert messages(USER, shell, seen)[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [called("a", "local_shell", '{"type":"exec","command":["ls"]}')],
        },
        {"role": "tool", "tool_call_id": "a", "content": "files"},
    ]


def test_instructions_may_be_items() -> None:
    assert messages(USER, instructions=[{"role": "developer", "content": "I"}]) == [
        {"role": "system", "content": "I"},
        USER,
    ]


def test_tools_may_come_with_the_input() -> None:
    more = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "f"}]}
    assert [tool["function"]["name"] for tool in sent(read(input=[USER, more]))["tools"]] == ["f"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "all"}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{"type": "function", "name": "f"}], "tool_choice": 5}, "tool_choice"),
        ({"instructions": 5}, "instructions"),
        ({"text": "x"}, "text"),
        ({"text": {"format": "x"}}, "text.format"),
        ({"reasoning": 5}, "reasoning"),
        ({"input": 5}, "input"),
    ],
)
def test_a_field_of_another_form_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as caught:
        read(**fields).body_for(CHAT, output_limit=9)
    assert (caught.value.param, caught.value.status) == (param, 400)


def test_what_chat_itself_refuses_is_named_as_the_client_knows_it() -> None:
    with pytest.raises(APIError) as caught:
        read(stream="yes")
    assert caught.value.param == "stream"
    body = read(instructions="I", input=[USER, USER]).as_chat
    assert body.named("messages[2].content[0]") == "input[1].content[0]"
    assert body.named("messages[0]") == "instructions"
    assert (body.named("messages"), body.named("messages[9]"), body.named(None)) == (
        "input",
        "messages[9]",
        None,
    )


def test_what_no_chat_can_take_goes_to_the_routes_that_need_none() -> None:
    both = served_model(routes=(CHAT, NATIVE))
    assert read().served_by(both) is both
    stored = read(input=[{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}])
    assert stored.served_by(both).routes == (NATIVE,)
    with pytest.raises(APIError) as caught:
        stored.served_by(served_model(routes=(CHAT,)))
    assert caught.value.param == "input[0].content[0].file_data"
