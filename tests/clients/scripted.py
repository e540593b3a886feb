"""What upstreams answer to real programs: texts and calls of tools, as chats, messages and responses. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.dialects import MESSAGES, RESPONSES, named
from tests.fake_upstream import chunk

PROMPT, COMPLETION = 50, 40  # what every answer reports: no more than the shortest request can have
CHAT_USAGE = {
    "prompt_tokens": PROMPT,
    "completion_tokens": COMPLETION,
    "total_tokens": PROMPT + COMPLETION,
}
DONE = "All done."


@dataclass(frozen=True, slots=True)
class Answer:
    """A text, and a call of a tool where it has a `tool`."""

    text: str = ""
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def written(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False)


def calls(tool: str, **arguments: Any) -> Answer:
    return Answer("I shall do that.", tool, arguments)


def results_in(request: dict[str, Any]) -> int:
    """How many results of tools the conversation has: how far a task has come."""
    blocks = [
        block
        for message in request.get("messages", ())
        if isinstance(message.get("content"), list)
        for block in message["content"]
    ]
    items = request["input"] if isinstance(request.get("input"), list) else []
    return sum(
        (
            sum(message.get("role") == "tool" for message in request.get("messages", ())),
            sum(block.get("type") == "tool_result" for block in blocks),
            sum(str(item.get("type")).endswith("call_output") for item in items),
        )
    )


def answer_to(request: dict[str, Any], steps: Sequence[Answer]) -> Answer:
    """The step that is next; what offers no tools (titles and the like) is told a word."""
    if len(steps) > 1 and not request.get("tools"):
        return Answer("A title")
    return steps[min(results_in(request), len(steps) - 1)]


def stream_of(path: str, answer: Answer, *, number: int) -> list[bytes]:
    """The events of an answer, by the path that was asked; `number` makes ids new."""
    if path.endswith("/messages"):
        return _messages_stream(answer, number)
    if path.endswith("/responses"):
        return _responses_stream(answer, number)
    return _chat_stream(answer, number)


def whole_of(path: str, answer: Answer, *, number: int) -> dict[str, Any]:
    if path.endswith("/messages"):
        whole = MESSAGES.whole(answer.text, prompt=PROMPT, completion=COMPLETION)
        if answer.tool:
            whole["content"].append({**_tool_use(answer, number), "input": answer.arguments})
            whole["stop_reason"] = "tool_use"
        return whole
    if path.endswith("/responses"):
        whole = RESPONSES.whole(answer.text, prompt=PROMPT, completion=COMPLETION)
        if answer.tool:
            whole["output"].append(_function_call(answer, number))
        return whole
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool:
        function = {"name": answer.tool, "arguments": answer.written}
        message["tool_calls"] = [{"id": f"call_{number}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tool else "stop"}
    return {
        "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1700000000, "model": "up-model",
        "choices": [choice], "usage": CHAT_USAGE,
    }  # fmt: skip


def _chat_stream(answer: Answer, number: int) -> list[bytes]:
    begun = [
        {"index": 0, "id": f"call_{number}", "type": "function",
         "function": {"name": answer.tool, "arguments": ""}},
        *({"index": 0, "function": {"arguments": piece}} for piece in _pieces(answer.written)),
    ] if answer.tool else []  # fmt: skip
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in _pieces(answer.text)),
        *(chunk({"tool_calls": [call]}) for call in begun),
        chunk({}, finish="tool_calls" if answer.tool else "stop"),
        chunk(None, usage=CHAT_USAGE),
        b"data: [DONE]\n\n",
    ]


def _messages_stream(answer: Answer, number: int) -> list[bytes]:
    start, *text, end, stop = MESSAGES.stream(_pieces(answer.text), prompt=PROMPT, completion=COMPLETION)
    if answer.tool:
        text += [
            named("content_block_start", index=1, content_block=_tool_use(answer, number)),
            *(
                named(
                    "content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": piece}
                )
                for piece in _pieces(answer.written)
            ),
            named("content_block_stop", index=1),
        ]
        end = end.replace(b'"end_turn"', b'"tool_use"')
    return [start, *text, end, stop]


def _responses_stream(answer: Answer, number: int) -> list[bytes]:
    *parts, completed = RESPONSES.stream(_pieces(answer.text), prompt=PROMPT, completion=COMPLETION)
    if not answer.tool:
        return [*parts, completed]
    call = _function_call(answer, number)
    begun = {**call, "arguments": "", "status": "in_progress"}
    events: list[tuple[str, dict[str, Any]]] = [
        ("output_item.added", {"output_index": 1, "item": begun}),
        *(
            ("function_call_arguments.delta", {"output_index": 1, "item_id": call["id"], "delta": piece})
            for piece in _pieces(answer.written)
        ),
        ("output_item.done", {"output_index": 1, "item": call}),
        ("completed", {"response": whole_of("/responses", answer, number=number)}),
    ]
    count = len(parts)
    return parts + [
        named(f"response.{name}", sequence_number=count + at, **more)
        for at, (name, more) in enumerate(events)
    ]


def _tool_use(answer: Answer, number: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": answer.tool, "input": {}}


def _function_call(answer: Answer, number: int) -> dict[str, Any]:
    return {
        "type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": answer.tool,
        "arguments": answer.written, "status": "completed",
    }  # fmt: skip


def _pieces(text: str) -> list[str]:
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]
