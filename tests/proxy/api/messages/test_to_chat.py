"""What a chat request is made of: each line of what real clients send."""

import json
from typing import Any

import pytest

from proxy.api.messages.content import read_content
from proxy.api.messages.to_chat import to_chat
from proxy.errors import APIError

USER = {"role": "user", "content": "Hi"}
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}


def chat_of(*messages: Any, **fields: Any) -> dict[str, Any]:
    return with_left_out(*messages, **fields)[0]


def with_left_out(*messages: Any, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    asked = {"model": "m", "max_tokens": 5, "messages": list(messages or [USER]), **fields}
    read_content(asked["messages"], asked.get("system"))
    return to_chat(asked)


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def call(call_id: str, name: str = "read", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


# --- texts -------------------------------------------------------------------------------------------------------


def test_a_plain_request_is_a_plain_chat() -> None:
    assert with_left_out(USER, temperature=0.5, top_p=0.9, stream=True) == (
        {"model": "m", "max_tokens": 5, "messages": [USER], "temperature": 0.5, "top_p": 0.9, "stream": True},
        [],
    )


def test_texts_make_the_same_bytes_as_strings_and_as_lists() -> None:
    as_strings = chat_of(USER, {"role": "assistant", "content": "Yes"}, USER, system="Be brief.")
    as_lists = chat_of(
        user(text("Hi", cache_control={"type": "ephemeral"})),
        assistant(text("Yes")),
        user(text("Hi")),
        system=[text("Be brief.", cache_control={"type": "ephemeral", "ttl": "1h"})],
    )
    assert json.dumps(as_strings) == json.dumps(as_lists)
    assert as_lists["messages"][0] == {"role": "system", "content": "Be brief."}


def test_blocks_of_text_are_paragraphs() -> None:
    chat = chat_of(user(text("a"), text("b")), system=[text("one"), text("two")])
    assert [message["content"] for message in chat["messages"]] == ["one\n\ntwo", "a\n\nb"]


def test_a_check_sum_that_changes_with_every_request_is_no_part_of_the_system_text() -> None:
    chat, left_out = with_left_out(system=[text("x-anthropic-billing-header: cch=1f2e3;"), text("Be brief.")])
    assert chat["messages"][0] == {"role": "system", "content": "Be brief."}
    assert left_out == ["system[0]"]


def test_a_system_message_stays_where_it_stands() -> None:
    chat = chat_of(USER, {"role": "system", "content": [text("Now in Persian.")]}, USER)
    assert [message["role"] for message in chat["messages"]] == ["user", "system", "user"]
    assert chat["messages"][1]["content"] == "Now in Persian."


def test_neighbours_of_one_role_are_one_message() -> None:
    chat = chat_of(USER, USER, assistant(text("a")), assistant(call("t1")), user(result("t1")))
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant", "tool"]
    assert chat["messages"][0]["content"] == "Hi\n\nHi"
    assert (chat["messages"][1]["content"], len(chat["messages"][1]["tool_calls"])) == ("a", 1)


# --- media -------------------------------------------------------------------------------------------------------


def test_images_are_sent_as_chat_has_them() -> None:
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    assert chat_of(user(PIXEL, text("What?"), linked))["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}},
        text("What?"),
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]


def test_documents_of_text_are_text_and_others_files() -> None:
    plain = {
        "type": "document",
        "title": "T",
        "source": {"type": "text", "media_type": "text/plain", "data": "body"},
    }
    parts = {"type": "document", "source": {"type": "content", "content": [text("inner"), PIXEL]}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
    assert chat_of(user(plain))["messages"][0]["content"] == "T\nbody"
    assert [part["type"] for part in chat_of(user(parts))["messages"][0]["content"]] == ["text", "image_url"]
    file = {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"}
    assert chat_of(user(pdf))["messages"][0]["content"] == [{"type": "file", "file": file}]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "container_upload", "file_id": "file_1"},
    ],
)
def test_a_document_that_cannot_be_read_is_refused_by_its_field(block: Any) -> None:
    with pytest.raises(APIError) as refused:
        chat_of(user(text("a"), block))
    assert (refused.value.code, refused.value.param) == ("input_not_supported", "messages[0].content[1]")


@pytest.mark.parametrize("source", [None, {}, {"type": "base64"}, {"type": "url", "url": 5}])
def test_an_image_without_an_image_is_refused_by_its_field(source: Any) -> None:
    with pytest.raises(APIError) as refused:
        chat_of(user({"type": "image", "source": source}))
    assert (refused.value.status, refused.value.param) == (400, "messages[0].content[0].source")


# --- tools -------------------------------------------------------------------------------------------------------


def test_tools_are_functions() -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tool = {"name": "read", "description": "Reads", "input_schema": schema, "defer_loading": True}
    tools = [
        {**tool, "eager_input_streaming": True, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "name": "go", "strict": True, "input_schema": schema},
    ]
    assert chat_of(tools=tools)["tools"] == [
        {"type": "function", "function": {"name": "read", "description": "Reads", "parameters": schema}},
        {"type": "function", "function": {"name": "go", "parameters": schema, "strict": True}},
    ]


def test_tools_of_a_schema_that_a_chat_model_does_not_know_are_left_out() -> None:
    chat, left_out = with_left_out(
        tools=[{"type": "bash_20250124", "name": "bash"}], tool_choice={"type": "auto"}
    )
    assert left_out == ["tools.bash_20250124"]
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & chat.keys()


@pytest.mark.parametrize(
    ("choice", "in_chat"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "go"}, {"tool_choice": {"type": "function", "function": {"name": "go"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_a_choice_of_tools_is_chats(choice: Any, in_chat: dict[str, Any]) -> None:
    chat = chat_of(tools=[{"name": "go", "input_schema": {}}], tool_choice=choice)
    assert in_chat.items() <= chat.items()
    assert ("parallel_tool_calls" in chat) == ("parallel_tool_calls" in in_chat)


def test_calls_and_results_are_chats_whatever_their_order() -> None:
    chat = chat_of(
        USER,
        assistant(text("Two."), call("t1", path="a"), call("t2", path="b")),
        user(text("Go on."), result("t2", "B"), result("t1", [text("A"), text("A2")])),
    )
    assert chat["messages"][1] == {
        "role": "assistant",
        "content": "Two.",
        "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "read", "arguments": '{"path":"a"}'}},
            {"id": "t2", "type": "function", "function": {"name": "read", "arguments": '{"path":"b"}'}},
        ],
    }
    assert chat["messages"][2:] == [
        {"role": "tool", "tool_call_id": "t2", "content": "B"},
        {"role": "tool", "tool_call_id": "t1", "content": "A\nA2"},
        {"role": "user", "content": "Go on."},
    ]


def test_results_stand_directly_behind_their_calls() -> None:
    chat = chat_of(
        assistant(call("t1")), {"role": "system", "content": "Mind the time."}, user(result("t1", "A"))
    )
    assert [message["role"] for message in chat["messages"]] == ["assistant", "tool", "system"]
    assert chat["messages"][0]["content"] is None


def test_a_failed_call_is_told_as_one() -> None:
    chat = chat_of(
        assistant(call("t1"), call("t2"), call("t3")),
        user(
            result("t1", "no such file", is_error=True),
            result("t2", "Error: gone", is_error=True),
            {"type": "tool_result", "tool_use_id": "t3"},
        ),
    )
    assert [message["content"] for message in chat["messages"][1:]] == [
        "Error: no such file",
        "Error: gone",
        "",
    ]


def test_images_in_results_follow_in_the_next_message() -> None:
    chat = chat_of(assistant(call("t1")), user(result("t1", [text("A"), PIXEL]), text("And?")))
    told, shown = chat["messages"][1:]
    assert told["content"] == "A\n(What this tool returned follows in the next message.)"
    assert [part["type"] for part in shown["content"]] == ["image_url", "text"]


def test_a_reference_to_a_tool_says_that_it_is_there() -> None:
    chat = chat_of(
        assistant(call("t1", "ToolSearch")),
        user(result("t1", [{"type": "tool_reference", "tool_name": "Edit"}])),
        tools=[{"name": "Edit", "input_schema": {}, "defer_loading": True}],
    )
    assert chat["messages"][1]["content"] == "The tool Edit can be called now."
    assert chat["tools"][0]["function"]["name"] == "Edit"


@pytest.mark.parametrize("signature", ["", "abc", None])
def test_thinking_is_reasoning(signature: str | None) -> None:
    thinking = {"type": "thinking", "thinking": "hm"} | (
        {} if signature is None else {"signature": signature}
    )
    redacted = {"type": "redacted_thinking", "data": "xyz"}
    chat, left_out = with_left_out(USER, assistant(thinking, redacted, text("Yes")), USER)
    assert chat["messages"][1] == {"role": "assistant", "content": "Yes", "reasoning_content": "hm"}
    assert left_out == []


def test_an_assistant_that_said_nothing_has_a_content() -> None:
    assert chat_of(USER, assistant())["messages"][1] == {"role": "assistant", "content": ""}


# --- other fields ------------------------------------------------------------------------------------------------


def test_stop_sequences_are_stop() -> None:
    assert chat_of(stop_sequences=["\n\nHuman:", "END"])["stop"] == ["\n\nHuman:", "END"]
    assert "stop" not in chat_of(stop_sequences=[])


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
    ],
)
def test_a_schema_of_the_answer_is_a_response_format(fields: dict[str, Any]) -> None:
    json_schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert chat_of(**fields)["response_format"] == {"type": "json_schema", "json_schema": json_schema}


def test_what_a_chat_has_no_place_for_is_left_out_and_named() -> None:
    chat, left_out = with_left_out(
        user(text("Hi"), {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        top_k=5,
        thinking={"type": "adaptive"},
        metadata={"user_id": "{}"},
        context_management={"edits": []},
        output_config={"effort": "high"},
        unheard_of=True,
    )
    assert chat == {"model": "m", "max_tokens": 5, "messages": [USER]}
    assert left_out == [
        "messages.server_tool_use",
        "top_k",
        "thinking",
        "metadata",
        "context_management",
        "output_config.effort",
        "unheard_of",
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [{"description": "nameless"}]}, "tools[0]"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format"),
        ({"system": [PIXEL]}, "system"),
        ({"system": 5}, "system"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as refused:
        chat_of(USER, **fields)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("text", "messages[0]"),
        ({"content": "Hi"}, "messages[0]"),
        ({"role": "tool", "content": "Hi"}, "messages[0]"),
        ({"role": "user"}, "messages[0]"),
        ({"role": "user", "content": {}}, "messages[0]"),
        (user("text"), "messages[0].content[0]"),
        (user({"text": "a"}), "messages[0].content[0]"),
        (user({"type": "text"}), "messages[0].content[0]"),
    ],
)
def test_a_message_that_is_none_is_named(message: Any, param: str) -> None:
    with pytest.raises(APIError) as refused:
        chat_of(message)
    assert (refused.value.code, refused.value.param) == ("invalid_messages", param)
