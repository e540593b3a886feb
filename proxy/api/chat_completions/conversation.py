"""A chat as it grows from turn to turn: what its prompt is made of, up to any of its messages. Pure."""

import hmac
from dataclasses import dataclass

import msgspec

from proxy.api.chat_completions.messages import read_every
from proxy.catalogue.request_fields import LIMIT_FIELDS
from proxy.catalogue.served import ServedModel
from proxy.catalogue.tokens import PromptSize, expansion_bytes
from proxy.http.parsing import Compacting, Fields

# Fields of a body that no template writes into a prompt; the model is known without it. Whatever else a client sends
# may change the prompt that is made of the same messages: tools, a response format, an effort, options of an engine.
NOT_IN_PROMPTS = frozenset({"model", "messages", "stream", "stream_options", *LIMIT_FIELDS})


@dataclass(frozen=True, slots=True)
class Conversation:
    """See proxy/metering/endpoint.py. `fields` and `messages` are the JSON that the client wrote."""

    fields: Fields
    messages: list[msgspec.Raw]
    compacted: Compacting

    @property
    def length(self) -> int:
        return len(self.messages)

    def hashes(self, keyed: hmac.HMAC, *, last: int) -> list[bytes]:
        others = sorted(name for name in self.fields if name not in NOT_IN_PROMPTS)
        _add(keyed, *(piece for name in others for piece in (name.encode(), self.fields[name])))
        found, first = [], self.length - last
        for number, message in enumerate(self.messages):
            _add(keyed, message)
            if number >= first:
                found.append(keyed.copy().digest())
        return found

    def bound_after(self, length: int, model: ServedModel) -> int:
        rest = self.messages[length:]
        content = read_every(rest, self.compacted)
        written = [self.compacted(bytes(message)) for message in rest]
        size = PromptSize(
            text_bytes=sum(map(len, written)) + len(rest) - content.media_bytes,  # each behind a comma
            media_parts=content.media_parts,
            expansion_bytes=expansion_bytes(b"".join(written)),
        )
        return bound(size, model)


def bound(size: PromptSize, model: ServedModel) -> int:
    """Never below the truth, in tokens of this model."""
    return size.bound(
        rates=model.rates,
        media_part_tokens=model.media_part_tokens,
        context_tokens=model.longest_prompt_tokens,
        trust_context=model.learned_context_tokens is None,
    )


def _add(keyed: hmac.HMAC, *pieces: bytes | msgspec.Raw) -> None:
    """Their number and their lengths first, so that no two lists of pieces look alike."""
    keyed.update(b"%d:" % len(pieces))
    for written in map(bytes, pieces):
        keyed.update(b"%d:" % len(written))
        keyed.update(written)
