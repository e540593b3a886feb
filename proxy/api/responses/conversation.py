"""A Responses conversation as it grows from turn to turn, item by item. Pure."""

import hmac
from dataclasses import dataclass

import msgspec

from proxy.api.chat_completions.conversation import bound
from proxy.api.responses_to_chat.body import LIMIT, as_chat
from proxy.api.responses_to_chat.items import MEDIA
from proxy.catalogue.request_fields import ESCAPED_LETTERS, LIMIT_FIELDS
from proxy.catalogue.served import ServedModel
from proxy.catalogue.tokens import PromptSize, expansion_bytes
from proxy.http.parsing import Compacting, Fields

# Fields that no template writes into a prompt. Whatever else a client sends may change it.
NOT_IN_PROMPTS = frozenset(
    {
        "model", "input", "stream", "stream_options", "store", "include", "metadata", "client_metadata", "user",
        "safety_identifier", "prompt_cache_key", "prompt_cache_retention", LIMIT, *LIMIT_FIELDS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InputItems:
    """A Conversation (proxy/metering/endpoint.py). `fields` and `items` are the JSON that the client wrote."""

    fields: Fields
    items: list[msgspec.Raw]
    compacted: Compacting

    @property
    def length(self) -> int:
        return len(self.items)

    def hashes(self, keyed: hmac.HMAC, *, last: int) -> list[bytes]:
        others = sorted(name for name in self.fields if name not in NOT_IN_PROMPTS)
        _add(keyed, *(piece for name in others for piece in (name.encode(), bytes(self.fields[name]))))
        found, first = [], self.length - last
        for number, item in enumerate(self.items):
            _add(keyed, bytes(item))
            if number >= first:
                found.append(keyed.copy().digest())
        return found

    def bound_after(self, length: int, model: ServedModel) -> int:
        rest = self.items[length:]
        written = [self.compacted(bytes(item)) for item in rest]
        as_messages = bytes(as_chat({"input": msgspec.Raw(msgspec.json.encode(rest))}).fields["messages"])
        size = PromptSize(
            # A template may write an item's arguments as they are escaped in a chat.
            text_bytes=max(sum(map(len, written)) + len(rest), len(as_messages)),
            expansion_bytes=expansion_bytes(b"".join(written)),
        )
        return bound(size, model)


def has_media(written: bytes) -> bool:
    """Whether there may be some."""
    return ESCAPED_LETTERS.search(written) is not None or any(name in written for name in MEDIA)


def beginning(items: list[msgspec.Raw]) -> bytes:
    """What a conversation's requests have in common: its items up to the first one of a user."""
    shared = []
    for item in items:
        shared.append(bytes(item))
        if b'"user"' in shared[-1]:
            break
    return b"\n".join(shared)


def _add(keyed: hmac.HMAC, *pieces: bytes) -> None:
    """Their number and their lengths first, so that no two lists of pieces look alike."""
    keyed.update(b"%d:" % len(pieces))
    for piece in pieces:
        keyed.update(b"%d:" % len(piece))
        keyed.update(piece)
