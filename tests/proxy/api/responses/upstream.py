"""What upstreams of both kinds answer to these tests: chats, and responses of their own."""

import json
from typing import Any

from tests.fake_upstream import USAGE, chunk

USED = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 21,
}


def call_chunk(index: int, *, arguments: str = "", call_id: str = "", name: str = "") -> bytes:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})
    return chunk({"tool_calls": [call]})


def chat_stream(*chunks: bytes, finish: str = "stop", usage: dict[str, Any] | None = None) -> list[bytes]:
    return [
        chunk({"role": "assistant", "content": ""}),
        *chunks,
        chunk({}, finish=finish),
        chunk(None, usage=usage or USAGE),
        b"data: [DONE]\n\n",
    ]


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def response(status: str = "completed", **members: Any) -> dict[str, Any]:
    return {
        "id": "resp_up",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "up-model",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [{"type": "function", "name": "buy", "strict": False,
                   "parameters": {"type": "object", "properties": {"price": {"type": "number"}}}}],
        "top_p": 1.0,
        "usage": None,
        **members,
    }  # fmt: skip


MESSAGE = {
    "id": "msg_up",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": []}],
}
WHOLE = response(output=[MESSAGE], usage=USED)
BEGUN = {**MESSAGE, "status": "in_progress", "content": []}
PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
AT = {"item_id": "msg_up", "output_index": 0, "content_index": 0}


def delta(text: str, number: int, **members: Any) -> bytes:
    return event(
        "response.output_text.delta", **AT, delta=text, logprobs=[], sequence_number=number, **members
    )


HEAD = [
    event("response.created", response=response("in_progress"), sequence_number=0),
    event("response.in_progress", response=response("in_progress"), sequence_number=1),
]
BODY = [
    event("response.output_item.added", output_index=0, item=BEGUN, sequence_number=2),
    event("response.content_part.added", **AT, part=PART, sequence_number=3),
    delta("Hel", 4, obfuscation="abc"),
    delta("lo!", 5),
    event("response.output_text.done", **AT, text="Hello!", logprobs=[], sequence_number=6),
    event("response.content_part.done", **AT, part=MESSAGE["content"][0], sequence_number=7),
    event("response.output_item.done", output_index=0, item=MESSAGE, sequence_number=8),
]
END = event("response.completed", response=WHOLE, sequence_number=9)
STREAM = [*HEAD, *BODY, END]
