"""How many tokens a text may be, without a tokenizer. Pure.

Three figures with three jobs: the bound (never below the truth) is what a hold is made of, the estimate (near the
truth) is what the token limit counts at admission and what is billed where an upstream reports nothing, and the
measure `at_least` (never above the truth) tells that more was made than was held, or than is reported. Bound and
estimate read the same bytes: everything in the request but its media.
"""

import unicodedata
from collections.abc import Iterable
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


# No text that people or programs write is longer than this in any vocabulary tried (tests/proxy/measured_texts.json).
WORD_BYTES_PER_TOKEN = 16
# Of spaces, rules and dot leaders alone, a single token holds up to 1,024 bytes.
MARK_BYTES_PER_TOKEN = 1024
# Streams whose events are shorter on average were cut anew, letter by letter, from a finished answer.
DELTA_BYTES = 3

_ASCII_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())
# How the UTF-8 of other marks begins that come in long runs: no-break spaces, everything from dashes to box drawing
# and shapes (U+2000 to U+2FFF), ideographic spaces and stops, the Arabic letters' connecting line.
_MARKS_BEGIN = ((b"\xc2", 2), (b"\xe2", 3), (b"\xe3\x80", 3), (b"\xd9\x80", 2))


def at_least(text_bytes: int, deltas: int, *, mark_bytes: int = 0) -> int:
    """Never above the true number of tokens of a text of `text_bytes` that came in so many `deltas`.

    `mark_bytes`: see the function of that name; without it, a text of spaces alone counts too much.
    """
    by_bytes = (text_bytes - mark_bytes) // WORD_BYTES_PER_TOKEN + mark_bytes // MARK_BYTES_PER_TOKEN
    by_deltas = deltas if text_bytes >= DELTA_BYTES * deltas else 0
    return max(by_bytes, by_deltas, 1 if text_bytes else 0)


def mark_bytes(text: bytes) -> int:
    """How many bytes of a text in UTF-8 are no letters or digits: spaces, punctuation, rules, leaders."""
    marks = len(text) - len(text.translate(None, _ASCII_MARKS))
    if not text.isascii():
        marks += sum(text.count(beginning) * length for beginning, length in _MARKS_BEGIN)
    return marks


@dataclass(slots=True)
class TextSize:
    """How long an answer's text is, in bytes of UTF-8 and in events of a stream. `mark_bytes` are among its bytes.

    An event of a single character is no delta: what cuts a finished answer letter by letter sends such.
    """

    text_bytes: int = 0
    mark_bytes: int = 0
    deltas: int = 0

    def add(self, texts: Iterable[str]) -> int:
        """Counts the texts of one event; how many bytes they are."""
        added = characters = 0
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            added += len(encoded)
            characters += len(text)
            self.mark_bytes += mark_bytes(encoded)
        self.text_bytes += added
        self.deltas += characters > 1
        return added

    @property
    def at_least(self) -> int:
        return at_least(self.text_bytes, self.deltas, mark_bytes=self.mark_bytes)

    @property
    def estimate(self) -> int:
        return completion_estimate(self.text_bytes, self.deltas)
