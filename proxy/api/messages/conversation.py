"""A conversation of the Messages API as it grows from turn to turn. Pure."""

from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.api.chat_completions import conversation as chat
from proxy.api.chat_completions.answers import encode
from proxy.api.messages.content import read_content, unmarked
from proxy.catalogue.served import ServedModel
from proxy.catalogue.tokens import PromptSize, expansion_bytes
from proxy.http.parsing import Compacting, Fields, decode_anything


@dataclass(frozen=True, slots=True)
class Conversation(chat.Conversation):
    """Chat's, of messages that are `unmarked`."""

    def bound_after(self, length: int, model: ServedModel) -> int:
        rest = self.messages[length:]
        content = read_content([decode_anything(raw) for raw in rest])
        written = [self.compacted(bytes(raw)) for raw in rest]
        size = PromptSize(
            text_bytes=sum(map(len, written)) + len(rest) - content.media_bytes,
            media_parts=content.media_parts,
            expansion_bytes=expansion_bytes(b"".join(written)),
        )
        return chat.bound(size, model)


def conversation_of(fields: Fields, messages: list[Any], compacted: Compacting) -> Conversation:
    written = [msgspec.Raw(encode(unmarked(message))) for message in messages]
    return Conversation(fields, written, compacted)
