"""What legacy completions and embeddings are given: a text, a list of texts, or the same as ids of tokens."""

from dataclasses import dataclass

import msgspec

from proxy.api import fields
from proxy.catalogue import tokens
from proxy.catalogue.served import ServedModel
from proxy.catalogue.tokens import PromptSize, TextSize
from proxy.errors import APIError
from proxy.http.parsing import Payload

INPUTS_MAX = 2_048
WANTED = "a text, a list of texts, a list of token ids or a list of such lists"
# What a tokenizer puts around each text (BOS, [CLS] and [SEP]), and a server before it ("search_query: ").
SPECIAL_TOKENS = 8

_decode = msgspec.json.Decoder(str | list[str | int | list[int]]).decode


@dataclass(frozen=True, slots=True)
class TextInput:
    """`texts`, or how many ids each input has (`id_counts`). `size`: the whole body, each id as one byte of it."""

    texts: list[str]
    id_counts: list[int]
    size: PromptSize

    @property
    def count(self) -> int:
        return len(self.texts) or len(self.id_counts)

    @property
    def characters(self) -> list[int]:
        """How long each of them is as text; of ids, the most that is likely."""
        return [len(text) for text in self.texts] or [
            ids * tokens.UNKNOWN_BYTES_PER_TOKEN for ids in self.id_counts
        ]

    @property
    def estimate(self) -> int:
        """Near the truth, in tokens."""
        text_bytes = sum(len(text.encode()) for text in self.texts)
        return max(len(self.texts), -(-text_bytes // tokens.BYTES_PER_TOKEN)) + sum(self.id_counts)

    def bound(self, model: ServedModel) -> int:
        """Never below the truth, in tokens of this model."""
        return self.size.bound(
            rates=model.rates,
            media_part_tokens=None,
            context_tokens=model.longest_prompt_tokens * self.count,
            trust_context=model.learned_context_tokens is None,
        )

    def cannot_fit(self, context_tokens: int) -> bool:
        """Whether one of them is longer than the context in any tokenizer."""
        if self.id_counts:
            return max(self.id_counts) > context_tokens
        longest = max(self.texts, key=len)
        if tokens.at_least(len(longest.encode()), 0) <= context_tokens:
            return False
        size = TextSize()
        size.add([longest])
        return size.at_least > context_tokens


def read(payload: Payload, name: str) -> TextInput:
    """Raises APIError invalid_value."""
    raw = payload.fields.get(name, msgspec.Raw(b"null"))
    try:
        said = _decode(raw)
    except msgspec.MsgspecError:
        raise fields.invalid(name, WANTED) from None
    texts, id_counts = _of_one_kind(said, name)
    count = len(texts) or len(id_counts)
    if count > INPUTS_MAX:
        raise APIError(
            "invalid_value",
            param=name,
            message=f'The "{name}" field can hold at most {INPUTS_MAX:,} inputs, not {count:,}.',
        )
    text_bytes = payload.text_bytes + SPECIAL_TOKENS * count
    if id_counts:
        text_bytes += sum(id_counts) - len(payload.compacted(bytes(raw)))
    return TextInput(texts, id_counts, PromptSize(text_bytes, expansion_bytes=payload.expansion_bytes))


def _of_one_kind(said: str | list[str | int | list[int]], name: str) -> tuple[list[str], list[int]]:
    if isinstance(said, str):
        return [said], []
    texts = [one for one in said if isinstance(one, str)]
    ids = [one for one in said if isinstance(one, int)]
    lists = [one for one in said if isinstance(one, list)]
    if not said or len(said) not in (len(texts), len(ids), len(lists)):
        raise fields.invalid(name, WANTED)
    return texts, [len(ids)] if ids else [len(each) for each in lists]
