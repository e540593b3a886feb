"""How many tokens a text may be, without a tokenizer. Pure.

Three figures with three jobs: the bound (never below the truth; of an answer `at_most`) is what a hold is made of, the
estimate (near the truth) is what the token limit counts at admission and what is billed where an upstream reports
nothing, and the measure `at_least` (never above the truth) tells that more was made than was held, or than is reported.
Bound and estimate of a prompt read the same bytes: everything in the request but its media.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

# A request without a limit of its own is served if wallet and budget cover an answer of this length.
OUTPUT_FLOOR_TOKENS = 256
# What is held of a streamed answer at first, and held more at a time as it grows.
OUTPUT_SLICE_TOKENS = 2_048

# For the estimate; vendors' own figures are near these.
MEDIA_PART_TOKENS = 300
BYTES_PER_TOKEN = 4  # English text; Persian runs at 5 to 6 in UTF-8, so this leans to the high side there
ASCII = bytes(range(128))
TOOLS_TEMPLATE_TOKENS = 512  # the preamble that a template writes before tools


@dataclass(frozen=True, slots=True)
class TokenRates:
    """What a model's tokenizer and chat template can make of a request at most.

    The defaults cover those that were looked at (tests/proxy/api/chat_completions/tokenizers.json): a token of
    every vocabulary stands for at least one byte of normalised UTF-8; templates write up to 1,221 tokens of their
    own, and tools anew with spaces and line ends, at up to 1.9 tokens per byte of compact JSON.
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

        No prompt is longer than the context, where that can be trusted. The context is also the bound of media parts
        for which no number is declared.
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
    """`deltas`: stream events that carried text, each at least one token."""
    return max(deltas, -(-text_bytes // BYTES_PER_TOKEN))


# What real vocabularies hold in one token at most, on average over a text
# (tests/proxy/catalogue/measured_texts.json): letters and digits, whatever their script; bytes, where nothing else is
# known of the text; and spaces, rules, leaders.
LETTERS_PER_TOKEN = 16
UNKNOWN_BYTES_PER_TOKEN = 20
MARKS_PER_TOKEN = 1024
# Streams whose events are shorter on average were cut anew, letter by letter, from a finished answer.
DELTA_BYTES = 3
RUN_CHARACTERS = 16

_ASCII_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())
# How marks beyond ASCII that come in long runs begin in UTF-8: no-break spaces, everything from dashes to shapes
# (U+2000 to U+2FFF), ideographic spaces and stops, the line that connects Arabic letters.
_MARKS_BEGIN = (b"\xc2", b"\xe2", b"\xe3\x80", b"\xd9\x80")


def at_least(text_bytes: int, deltas: int, *, letters: int | None = None, marks: int = 0) -> int:
    """Never above the true number of tokens of a text of `text_bytes` that came in so many `deltas`.

    `letters` and `marks` are its characters, where they are known (see TextSize). Without them a text that is mostly
    spaces or rules counts too much.
    """
    if letters is None:
        by_length = text_bytes // UNKNOWN_BYTES_PER_TOKEN
    else:
        by_length = letters // LETTERS_PER_TOKEN + marks // MARKS_PER_TOKEN
    by_deltas = deltas if text_bytes >= DELTA_BYTES * deltas else 0
    return max(by_length, by_deltas)


@dataclass(slots=True)
class TextSize:
    """How long an answer's text is: in bytes of UTF-8, in characters that are `marks`, in events of a stream.

    Marks are what vocabularies have long tokens for: spaces, punctuation, and runs of any one character. An event of
    a single character is no delta: what cuts a finished answer letter by letter sends such.
    """

    text_bytes: int = 0
    characters: int = 0
    marks: int = 0
    deltas: int = 0
    units: ClassVar = None  # a text is billed by its tokens

    def add(self, texts: Iterable[str]) -> int:
        """Counts the texts of one event; returns how many bytes they have."""
        bytes_before, characters_before = self.text_bytes, self.characters
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            self.text_bytes += len(encoded)
            self.characters += len(text)
            self.marks += _marks(text, encoded)
        if self.characters - characters_before > 1:
            self.deltas += 1
        return self.text_bytes - bytes_before

    def figures(self) -> tuple[int, int, int, int]:
        """To restore this size later: `TextSize(*figures)`."""
        return self.text_bytes, self.characters, self.marks, self.deltas

    def exceeds(self, tokens: int) -> bool:
        """Whether it is certainly longer than so many tokens."""
        # The first condition is cheap, and true whenever `at_least` is above `tokens`.
        may = self.deltas > tokens or self.characters > LETTERS_PER_TOKEN * tokens
        return may and self.at_least > tokens

    @property
    def at_least(self) -> int:
        """Never above the true number of tokens."""
        return at_least(self.text_bytes, self.deltas, letters=self.characters - self.marks, marks=self.marks)

    @property
    def at_most(self) -> int:
        """Never below the true number of tokens: each stands for at least a byte."""
        return self.text_bytes

    @property
    def estimate(self) -> int:
        """Near the true number of tokens."""
        return completion_estimate(self.text_bytes, self.deltas)


def _marks(text: str, encoded: bytes) -> int:
    length = len(text)
    if length >= RUN_CHARACTERS and 2 * text.count(text[length // 2]) > length:
        return length
    marks = len(encoded) - len(encoded.translate(None, _ASCII_MARKS))
    if len(encoded) != length:
        for beginning in _MARKS_BEGIN:
            marks += encoded.count(beginning)
    return marks
