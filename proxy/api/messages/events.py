"""The events of a Messages stream, as they are written. Pure."""

import secrets
from typing import Any

from proxy.api.chat_completions.answers import encode
from proxy.api.messages import usage

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b:%b}}\n\n'
)
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def new_id(kind: str) -> str:
    """`msg_…`, `toolu_…`: of its own for every answer and every call."""
    return f"{kind}_{secrets.token_hex(12)}"


def event(payload: dict[str, Any]) -> bytes:
    """An event by the name of its type."""
    return written(payload["type"].encode(), encode(payload))


def written(name: bytes, data: bytes) -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"


def message_start(model: str) -> bytes:
    message: dict[str, Any] = {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage.NOTHING,
    }
    return event({"type": "message_start", "message": message})


def block_start(index: int, block: dict[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def text_delta(index: int, text: str) -> bytes:
    return _delta(b'"text_delta","text"', index, text)


def thinking_delta(index: int, text: str) -> bytes:
    return _delta(b'"thinking_delta","thinking"', index, text)


def input_delta(index: int, text: str) -> bytes:
    return _delta(b'"input_json_delta","partial_json"', index, text)


def _delta(kind: bytes, index: int, text: str) -> bytes:
    """Put together by hand, as nearly every event is one: a third of what it costs as an object."""
    return DELTA % (index, kind, encode(text))


def block_stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index})
