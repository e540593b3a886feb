"""What is read of a chat's messages: their roles, how much they say, and which media they hold."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, INPUTS, TEXT
from proxy.catalogue.tokens import TextSize
from proxy.errors import APIError
from proxy.http.parsing import Compacting

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# Agents send these back with nothing in them: an answer of reasoning or calls alone, a tool that said nothing.
ROLES_WITHOUT_CONTENT = frozenset({"assistant", "tool", "function"})
MESSAGES_MAX = 20_000


class Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[msgspec.Raw] | None = None


class Part(msgspec.Struct, gc=False):
    """Of a part that calls itself text vLLM takes the medium all the same, if there is one."""

    type: str
    text: Any = None
    image_url: Any = None
    audio_url: Any = None
    input_audio: Any = None
    video_url: Any = None

    @property
    def medium(self) -> str | None:
        if self.image_url:
            return IMAGE
        if self.audio_url or self.input_audio:
            return AUDIO
        return FILE if self.video_url else None

    @property
    def is_inline(self) -> bool:
        """Whether its medium stands in the request itself, and is not fetched from an address or a store."""
        urls = [url for url in (self.image_url, self.audio_url, self.video_url) if url]
        written = [url.get("url") if isinstance(url, dict) else url for url in urls]
        if self.input_audio:  # base64; some services take an address in its place
            data = self.input_audio.get("data") if isinstance(self.input_audio, dict) else None
            written.append(f"data:,{data}" if isinstance(data, str) and ":" not in data else data)
        return bool(written) and all(isinstance(one, str) and one.startswith("data:") for one in written)


_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_message = msgspec.json.Decoder(Message).decode
_read_part = msgspec.json.Decoder(Part).decode


@dataclass(slots=True)
class Content:
    """What was read of `messages`. `compacted`: see Payload.

    `is_fixed`: the same JSON makes the same prompt whenever it is sent, no medium being fetched from elsewhere.
    `size`, where the text has to be looked into more closely. `text_bytes`: UTF-8 of what is said in text.
    """

    messages: list[msgspec.Raw]
    compacted: Compacting
    size: TextSize | None
    text_bytes: int = 0
    media_parts: int = 0
    media_bytes: int = 0
    inputs: dict[str, str] = field(default_factory=dict)
    is_fixed: bool = True

    def hear(self, text: str) -> None:
        self.text_bytes += _utf8_bytes(text)
        if self.size is not None:
            self.size.add([text])


def read_messages(messages: msgspec.Raw, compacted: Compacting, size: TextSize | None = None) -> Content:
    """Raises APIError invalid_messages."""
    every = _read_list(messages)
    if len(every) > MESSAGES_MAX:
        raise APIError("invalid_messages", param="messages")
    return read_every(every, compacted, size)


def read_every(messages: list[msgspec.Raw], compacted: Compacting, size: TextSize | None = None) -> Content:
    """Likewise for messages that are cut apart already."""
    content = Content(messages, compacted, size)
    for number, raw in enumerate(messages):
        try:
            _add_message(content, _read_message(raw), number)
        except (msgspec.MsgspecError, _NotAMessage):
            raise APIError("invalid_messages", param=f"messages[{number}]") from None
    return content


def beginning(messages: msgspec.Raw) -> bytes:
    """What a conversation's requests have in common: its messages up to the first one of a user."""
    shared = []
    for raw in _read_list(messages):
        shared.append(bytes(raw))
        if _read_message(raw).role == "user":
            break
    return b"\n".join(shared)


class _NotAMessage(Exception):
    """A role that there is not, or no content where there must be some."""


def _add_message(content: Content, message: Message, number: int) -> None:
    said = message.content
    if message.role not in ROLES or not (
        said or isinstance(said, str) or message.role in ROLES_WITHOUT_CONTENT
    ):
        raise _NotAMessage
    if isinstance(said, str):
        content.hear(said)
        return
    for place, raw in enumerate(said or ()):
        part = _read_part(raw)
        kind = INPUTS.get(part.type)
        is_text = kind == TEXT
        if is_text:
            content.hear(part.text if isinstance(part.text, str) else "")
            if (kind := part.medium) is None:
                continue
        content.media_parts += 1
        content.is_fixed = content.is_fixed and part.is_inline
        if kind is not None:
            content.inputs.setdefault(kind, f"messages[{number}].content[{place}]")
            if not is_text:  # the bytes of others, and of parts of an unknown type, count as text, too
                content.media_bytes += len(content.compacted(bytes(raw)))


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
