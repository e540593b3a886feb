"""What is read of a chat completion's body: only the fields that route, bound or bill it. The rest passes unread.

A body is cut into its top-level fields, which stay the JSON that the client wrote: what is not read here reaches the
upstream as it was written, numbers of any size included.
"""

import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from proxy.errors import APIError
from proxy.quirks import Quirks
from proxy.request_fields import INPUTS, LIMIT_FIELDS, TEXT, TOOLS, client_tools
from proxy.tokens import PromptSize, expansion_bytes

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# Agents send these back with nothing in them: an answer of reasoning or calls alone, a tool that said nothing.
ROLES_WITHOUT_CONTENT = frozenset({"assistant", "tool", "function"})
MESSAGES_MAX = 20_000
N_MAX = 128
OUTPUT_LIMIT_MAX = 2**31 - 1
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*\]")

Fields = dict[str, msgspec.Raw]
Value = TypeVar("Value")


class Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[msgspec.Raw] | None = None


class Part(msgspec.Struct, gc=False):
    type: str
    text: Any = None


_read_fields = msgspec.json.Decoder(Fields).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_message = msgspec.json.Decoder(Message).decode
_read_part = msgspec.json.Decoder(Part).decode


@dataclass(slots=True)
class CompletionRequest:
    """`fields` are the client's; `output_limit` its own cap on one answer, None where it set none.

    `inputs`: where the first image, sound or file stands, or the tools, by what it is. `content_bytes`: UTF-8 that
    messages say in text, all of which a model reads.
    """

    fields: Fields
    model: str
    stream: bool
    include_usage: bool
    n: int
    output_limit: int | None
    prompt: PromptSize
    inputs: dict[str, str]
    content_bytes: int

    def upstream_body(self, *, upstream_model: str, output_limit: int, rules: Quirks) -> bytes:
        """The body for an upstream: the model's name there, the cap by the name that it obeys, usage asked for in
        streams, and nothing that it does not take or that nobody has bounded."""
        body: dict[str, Any] = {
            name: value
            for name, value in self.fields.items()
            if name not in rules.strip_fields and name not in LIMIT_FIELDS
        }
        for name, reduced in rules.reduced_fields.items():
            if name in self.fields and (kept := reduced(self.fields[name])) is not None:
                body[name] = kept
        body["model"] = upstream_model
        for name in rules.limit_fields:
            body[name] = output_limit
        if self.stream:
            options = _read(self.fields, "stream_options", Fields | None, "an object")
            body["stream_options"] = {**(options or {}), "include_usage": True}
        return msgspec.json.encode(body)


def read_payload(body: bytes) -> Fields:
    """A JSON object's top-level fields. Raises APIError invalid_json, also for lone surrogates and absurd nesting."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        if not body.isascii():
            body.decode()
        return _read_fields(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise APIError("invalid_json") from None


def required_model(fields: Fields) -> str:
    try:
        model = msgspec.json.decode(fields.get("model", b"null"), type=str)
    except msgspec.MsgspecError:
        model = ""
    if not model.strip():
        raise APIError("model_required", param="model")
    messages = bytes(fields.get("messages", b""))
    if not messages.startswith(b"[") or EMPTY_LIST.fullmatch(messages):
        raise APIError("messages_required", param="messages")
    return model


def read_request(fields: Fields, *, model: str) -> CompletionRequest:
    """Checks what is left to check once the model is known. Raises APIError invalid_messages, invalid_value."""
    compact = {name: _compact(bytes(value)) for name, value in fields.items()}
    content = _read_messages(compact["messages"])
    stream = _read(fields, "stream", bool | None, "a boolean")
    options = _read(fields, "stream_options", Fields | None, "an object") or {}
    n = _whole_number(fields, "n", N_MAX) or 1
    limits = [
        limit for name in LIMIT_FIELDS if (limit := _whole_number(fields, name, OUTPUT_LIMIT_MAX)) is not None
    ]
    for name in ("tools", "functions"):
        if (tools := fields.get(name)) is not None and bytes(tools) not in {b"null", b"[]"}:
            content.inputs.setdefault(TOOLS, name)
    if "tools" in fields and (kept := client_tools(fields["tools"])) is not fields["tools"]:
        fields = {**fields, "tools": kept}
        compact["tools"] = bytes(kept)
    total_bytes = sum(len(name) + len(value) + 4 for name, value in compact.items())
    return CompletionRequest(
        fields=fields,
        model=model,
        stream=bool(stream),
        include_usage=bool(_read(options, "include_usage", Any, "")),
        n=n,
        output_limit=min(limits) if limits else None,  # both caps are kept by keeping the lower one
        prompt=PromptSize(
            text_bytes=total_bytes - content.media_bytes,
            tools_bytes=sum(len(compact[name]) for name in ("tools", "functions") if name in compact),
            media_parts=content.media_parts,
            expansion_bytes=sum(
                expansion_bytes(value.decode()) for value in compact.values() if not value.isascii()
            ),
        ),
        inputs=content.inputs,
        content_bytes=content.text_bytes,
    )


@dataclass(slots=True)
class _Content:
    text_bytes: int = 0
    media_parts: int = 0
    media_bytes: int = 0
    inputs: dict[str, str] = field(default_factory=dict)


def _read_messages(messages: bytes) -> _Content:
    every = _read_list(messages)
    if len(every) > MESSAGES_MAX:
        raise APIError("invalid_messages", param="messages")
    content = _Content()
    for number, raw in enumerate(every):
        try:
            _add_message(content, _read_message(raw), number)
        except (msgspec.MsgspecError, _NotAMessage):
            raise APIError("invalid_messages", param=f"messages[{number}]") from None
    return content


class _NotAMessage(Exception):
    """A role that there is not, or no content where there must be some."""


def _add_message(content: _Content, message: Message, number: int) -> None:
    said = message.content
    if message.role not in ROLES or not (
        said or isinstance(said, str) or message.role in ROLES_WITHOUT_CONTENT
    ):
        raise _NotAMessage
    if isinstance(said, str):
        content.text_bytes += _utf8_bytes(said)
        return
    for place, raw in enumerate(said or ()):
        part = _read_part(raw)
        kind = INPUTS.get(part.type)
        if kind == TEXT:
            content.text_bytes += _utf8_bytes(part.text) if isinstance(part.text, str) else 0
            continue
        content.media_parts += 1
        if kind is not None:  # the bytes of a part of an unknown type count as text, too
            content.media_bytes += len(bytes(raw))
            content.inputs.setdefault(kind, f"messages[{number}].content[{place}]")


def _compact(value: bytes) -> bytes:
    r"""The same JSON without escapes (`\u0633` is six bytes for two) and line ends: what its size is judged by."""
    if b"\\u" not in value:
        return value if b"\n" not in value else msgspec.json.format(value, indent=-1)
    try:
        return msgspec.json.encode(msgspec.json.decode(value))
    except (
        msgspec.MsgspecError,
        RecursionError,
    ):  # a number that no float holds: as it came, which is no shorter
        return value


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _read(fields: Fields, name: str, kind: Any, wanted: str) -> Any:
    """A field as a value of a type, None where it is absent. Raises APIError invalid_value."""
    if (raw := fields.get(name)) is None:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError:
        raise _invalid(name, wanted) from None


def _whole_number(fields: Fields, name: str, most: int) -> int | None:
    wanted = f"a whole number from 1 to {most}"
    value = _read(fields, name, int | float | None, wanted)
    if value is None:
        return None
    if value != int(value) or not 1 <= value <= most:
        raise _invalid(name, wanted)
    return int(value)


def _invalid(name: str, wanted: str) -> APIError:
    return APIError("invalid_value", param=name, message=f'The "{name}" field must be {wanted}.')
