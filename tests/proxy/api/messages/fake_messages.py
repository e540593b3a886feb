"""What an upstream that speaks Messages sends."""

import json
from typing import Any

USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 1,
    "service_tier": "standard",
}
ANSWER: dict[str, Any] = {
    "id": "msg_upstream",
    "type": "message",
    "role": "assistant",
    "model": "up-model",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {**USAGE, "output_tokens": 9},
}


def event(payload: dict[str, Any]) -> bytes:
    data = json.dumps(payload, separators=(",", ":")).encode()
    return b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), data)


def block(index: int, started: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    return b"".join(
        (
            event({"type": "content_block_start", "index": index, "content_block": started}),
            *(event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
            event({"type": "content_block_stop", "index": index}),
        )
    )


START = event(
    {
        "type": "message_start",
        "message": {**ANSWER, "content": [], "stop_reason": None, "usage": USAGE},
    }
)
BLOCKS = b"".join(
    (
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Reading the file."}),
        block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"path":'},
            {"type": "input_json_delta", "partial_json": '"a"}'},
        ),
    )
)
END = event(
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 9},
    }
)
STOP = event({"type": "message_stop"})
STREAM = [START, BLOCKS, END, STOP]
