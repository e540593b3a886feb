import json
from typing import Any

import pytest

from proxy.api.chat_pieces import Arguments, Call, Finish, Reasoning, Refusal, Text, of_message, pieces


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [choice]}).encode()


def test_the_pieces_of_a_stream_are_what_it_says() -> None:
    relayed = (
        b": ping\n\n"
        + event({"role": "assistant", "content": ""})
        + event({"reasoning_content": "hm"})
        + event({"content": "Hel"})
        + event({"content": "lo", "refusal": None})
        + event({"refusal": "no"})
        + event({}, "stop")
        + b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n'
    )
    assert list(pieces(relayed)) == [Reasoning("hm"), Text("Hel"), Text("lo"), Refusal("no"), Finish("stop")]


def test_calls_begin_once_and_their_arguments_follow() -> None:
    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
        return {"index": index, "function": function, **more}

    relayed = (
        event({"tool_calls": [call(0, "", id="a", name="f"), call(1, '{"x"', id="b", name="g")]})
        + event({"tool_calls": [call(1, ":1}")]})
        + event({"content": None, "tool_calls": [call(0, "{}")]}, "tool_calls")
    )
    assert list(pieces(relayed)) == [
        Call(0, "a", "f"),
        Call(1, "b", "g"),
        Arguments(1, '{"x"'),
        Arguments(1, ":1}"),
        Arguments(0, "{}"),
        Finish("tool_calls"),
    ]


def test_a_whole_message_says_the_same() -> None:
    message = {
        "role": "assistant",
        "reasoning": "hm",
        "content": [{"type": "text", "text": "Hello"}],
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
    }
    assert list(of_message(message)) == [
        Reasoning("hm"),
        Text("Hello"),
        Call(0, "a", "f"),
        Arguments(0, '{"x":1}'),
    ]


@pytest.mark.parametrize("delta", [5, "x", [], {"tool_calls": 5}, {"tool_calls": ["x"]}, {"content": [5]}])
def test_what_has_no_form_says_nothing(delta: Any) -> None:
    choices = b'{"choices":["x",{"index":0,"delta":%b}]}' % json.dumps(delta).encode()
    assert list(pieces(b"data: " + choices + b"\n\n")) == []


def test_arguments_of_any_size_and_half_a_surrogate_are_read() -> None:
    function = {"name": "go", "arguments": {"a": 10**30, "b": "\ud83d"}}
    began, arguments = pieces(event({"tool_calls": [{"index": 0, "function": function}]}))
    assert began == Call(0, "", "go")
    assert isinstance(arguments, Arguments)
    assert json.loads(arguments.text) == function["arguments"]
