"""How many tokens a text may be, without a tokenizer. Pure.

Two figures with two jobs: the bound (never below the truth) is what a hold is made of, the estimate (near the
truth) is what the token limit counts at admission and what is billed where an upstream reports nothing. Both read
the same bytes: everything in the request but its media.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# What the estimate takes; vendors' own figures lie around these.
MEDIA_PART_TOKENS = 300
BYTES_PER_TOKEN = 4  # English text; Persian runs at 5 to 6 in UTF-8, so this leans to the high side there
ASCII = bytes(range(128))
TOOLS_TEMPLATE_TOKENS = 512  # the preamble that a template writes before tools


@dataclass(frozen=True, slots=True)
class TokenRates:
    """What a model's tokenizer and chat template can make of a request at most.

    The defaults cover those that were looked at (tests/proxy/tokenizers.json): a token of every vocabulary stands for
    at least one byte of normalised UTF-8; templates write up to 1,221 tokens of their own, and tools anew with
    spaces and line ends, at up to 1.9 tokens per byte of compact JSON.
    """

    template_tokens: int = 2_048
    tokens_per_100_bytes: int = 100
    tools_tokens_per_100_bytes: int = 200


DEFAULT_RATES = TokenRates()


@dataclass(frozen=True, slots=True)
class PromptSize:
    """What a request is made of, in bytes of compact UTF-8 JSON and in parts that are images, sounds or files.

    `text_bytes`: everything but the media parts; `tools_bytes` of these are definitions of tools. `expansion_bytes`:
    what a tokenizer that normalises (NFC, NFKC) adds to the text.
    """

    text_bytes: int
    tools_bytes: int = 0
    media_parts: int = 0
    expansion_bytes: int = 0

    @property
    def estimate(self) -> int:
        """Near the truth, in tokens."""
        return -(-self.text_bytes // BYTES_PER_TOKEN) + MEDIA_PART_TOKENS * self.media_parts

    def bound(
        self,
        *,
        rates: TokenRates,
        media_part_tokens: int | None,
        context_tokens: int,
        trust_context: bool = True,
    ) -> int:
        """Never below the truth, in tokens.

        No prompt is longer than the context, where that can be trusted; it is also the bound of media parts that
        nobody has put a number to.
        """
        plain_bytes = self.text_bytes - self.tools_bytes + self.expansion_bytes
        bound = (
            _tokens(plain_bytes, rates.tokens_per_100_bytes)
            + _tokens(self.tools_bytes, rates.tools_tokens_per_100_bytes)
            + (TOOLS_TEMPLATE_TOKENS if self.tools_bytes else 0)
            + rates.template_tokens
        )
        if self.media_parts:
            bound = (
                max(bound, context_tokens)
                if media_part_tokens is None
                else bound + self.media_parts * media_part_tokens
            )
        return min(bound, context_tokens) if trust_context else bound


def _tokens(length_bytes: int, tokens_per_100_bytes: int) -> int:
    return -(-length_bytes * tokens_per_100_bytes // 100)


def expansion_bytes(text: bytes) -> int:
    """How many bytes a tokenizer that normalises its input may add to a text of UTF-8."""
    if text.isascii():
        return 0
    rest = text.translate(None, ASCII).decode()  # what is composed across a gap could only become shorter
    if unicodedata.is_normalized("NFKC", rest):
        return 0
    return sum(rest.count(char) * growth for char in set(rest) if (growth := _growth(char)))


@lru_cache(maxsize=4096)
def _growth(char: str) -> int:
    normalised = (unicodedata.normalize(form, char) for form in ("NFC", "NFKC"))
    return max(0, max(len(each.encode()) for each in normalised) - len(char.encode()))


def completion_estimate(text_bytes: int, deltas: int) -> int:
    """`deltas`: stream events that carried text, each of at least one token."""
    return max(deltas, -(-text_bytes // BYTES_PER_TOKEN))


def at_least(text_bytes: int, deltas: int = 0) -> int:
    """Never above the truth, in tokens."""
    return max(text_bytes // 16, deltas if text_bytes >= 3 * deltas else 0)
