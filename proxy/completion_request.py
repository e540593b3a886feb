"""What is read of a chat completion's body: only the fields that route, bound or bill it. The rest passes unread."""

from dataclasses import dataclass
from typing import Any

import orjson

from proxy.errors import APIError
from proxy.tokens import PromptSize

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# An assistant's message may lack content beside one of these.
INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")
TEXT_TYPES = frozenset({"text", "refusal", "input_text", "output_text"})
MEDIA_TYPES = frozenset({"image_url", "input_audio", "file", "video_url"})
MESSAGES_MAX = 20_000
N_MAX = 128
OUTPUT_LIMIT_MAX = 2**31 - 1


@dataclass(slots=True)
class CompletionRequest:
    """`payload` is the client's object; `output_limit` its own cap on one answer, None where it set none."""

    payload: dict[str, Any]
    model: str
    stream: bool
    include_usage: bool
    n: int
    output_limit: int | None
    prompt: PromptSize

    def upstream_body(
        self, *, upstream_model: str, output_limit: int | None, without: frozenset[str] = frozenset()
    ) -> bytes:
        """The body for upstream: the model's name there, usage asked for in streams, and a cap where we set one.

        `without`: fields that it does not take.
        """
        payload = {**self.payload, "model": upstream_model}
        for name in without:
            payload.pop(name, None)
        if self.stream:
            payload["stream_options"] = {**(payload.get("stream_options") or {}), "include_usage": True}
        if output_limit is not None:
            payload["max_tokens"] = output_limit
        try:
            return orjson.dumps(payload)
        except orjson.JSONEncodeError:  # nested deeper than it writes, though not deeper than it reads
            raise APIError("invalid_json") from None


def read_payload(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises APIError invalid_json, also for lone surrogates and absurd nesting."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise APIError("invalid_json") from None
    if not isinstance(payload, dict):
        raise APIError("invalid_json")
    return payload


def required_model(payload: dict[str, Any]) -> str:
    model = payload.get("model")
    if not isinstance(model, str) or not model.strip():
        raise APIError("model_required", param="model")
    if not isinstance(payload.get("messages"), list) or not payload["messages"]:
        raise APIError("messages_required", param="messages")
    return model


def read_request(payload: dict[str, Any], *, model: str) -> CompletionRequest:
    """Checks what is left to check once the model is known. Raises APIError invalid_messages, invalid_value."""
    messages = payload["messages"]
    if len(messages) > MESSAGES_MAX:
        raise APIError("invalid_messages", param="messages")
    for number, message in enumerate(messages):
        if not _is_message(message):
            raise APIError("invalid_messages", param=f"messages[{number}]")
    stream = payload.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _invalid("stream", "a boolean")
    options = payload.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _invalid("stream_options", "an object")
    limits = [
        limit
        for name in ("max_tokens", "max_completion_tokens")
        if (limit := _whole_number(payload, name, OUTPUT_LIMIT_MAX)) is not None
    ]
    return CompletionRequest(
        payload=payload,
        model=model,
        stream=bool(stream),
        include_usage=bool(options and options.get("include_usage")),
        n=_whole_number(payload, "n", N_MAX) or 1,
        # Upstreams differ in which of the two they obey; the hold has to cover either.
        output_limit=max(limits) if limits else None,
        prompt=_size(messages, payload.get("tools")),
    )


def _size(messages: list[dict[str, Any]], tools: Any) -> PromptSize:
    text_bytes = media_parts = media_bytes = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                if part["type"] in TEXT_TYPES:
                    text_bytes += _text_part_bytes(part)
                    continue
                media_parts += 1  # what we do not know may be as large as any
                if part["type"] in MEDIA_TYPES:
                    media_bytes += _json_bytes(part)
        elif content:
            text_bytes += _utf8_bytes(content)
        if calls := message.get("tool_calls"):
            text_bytes += _json_bytes(calls)
    if tools:
        text_bytes += _json_bytes(tools)
    return PromptSize(len(messages), text_bytes, media_parts, media_bytes, bool(tools))


def _text_part_bytes(part: dict[str, Any]) -> int:
    text = part.get("text") or part.get("refusal")
    return _utf8_bytes(text) if isinstance(text, str) else 0


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _json_bytes(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise APIError("invalid_json") from None


def _is_message(message: Any) -> bool:
    if (
        not isinstance(message, dict)
        or not isinstance(message.get("role"), str)
        or message["role"] not in ROLES
    ):
        return False
    content = message.get("content")
    if isinstance(content, str):
        return True
    if isinstance(content, list):
        return bool(content) and all(
            isinstance(part, dict) and isinstance(part.get("type"), str) for part in content
        )
    return (
        content is None
        and message["role"] == "assistant"
        and any(message.get(name) for name in INSTEAD_OF_CONTENT)
    )


def _whole_number(payload: dict[str, Any], name: str, most: int) -> int | None:
    value = payload.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise _invalid(name, f"a whole number from 1 to {most}")
    return value


def _invalid(name: str, wanted: str) -> APIError:
    return APIError("invalid_value", param=name, message=f'The "{name}" field must be {wanted}.')
