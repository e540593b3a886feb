"""A Messages stream as its events, checked as official SDKs need them."""

import json
from typing import Any

from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

SDK = TypeAdapter[Any](RawMessageStreamEvent)


def read_events(stream: bytes) -> list[dict[str, Any]]:
    """Each event's data. Comments and pings are none."""
    found = []
    for event in stream.decode().split("\n\n"):
        if not event or event.startswith(":"):
            continue
        name, data = event.split("\n")
        payload = json.loads(data.removeprefix("data: "))
        assert name == f"event: {payload['type']}"
        if payload["type"] != "ping":
            found.append(payload)
    return found


def checked(stream: bytes) -> dict[str, Any]:
    """The message that a whole stream makes, in the order in which its events have to come.

    Every event is one of the SDK's own types.
    """
    events = read_events(stream)
    for event in events:
        SDK.validate_python(event)
    start, *middle, delta, stop = events
    assert (start["type"], delta["type"], stop["type"]) == ("message_start", "message_delta", "message_stop")
    message = start["message"]
    assert message["content"] == []
    assert message["usage"].keys() >= {"input_tokens", "output_tokens"}
    opened: dict[str, Any] | None = None
    for event in middle:
        match event["type"]:
            case "content_block_start":
                assert opened is None
                opened = event["content_block"]
                assert event["index"] == len(message["content"])
                message["content"].append(opened)
                opened["partial_json"] = ""
                assert opened["type"] != "tool_use" or opened["input"] == {}
            case "content_block_delta":
                assert opened is not None
                assert event["index"] == len(message["content"]) - 1
                _add(opened, event["delta"])
            case "content_block_stop":
                assert opened is not None
                written = opened.pop("partial_json")
                if opened["type"] == "tool_use":
                    opened["input"] = json.loads(written or "{}")
                opened = None
            case other:
                raise AssertionError(other)
    assert opened is None
    assert delta["usage"].keys() >= {"input_tokens", "output_tokens", "cost_toman", "cost_details"}
    return {**message, **delta["delta"], "usage": delta["usage"]}


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            block["partial_json"] += delta["partial_json"]
