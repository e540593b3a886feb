"""How many tokens a text may be, without a tokenizer. Pure.

Three figures with three jobs: the bound (never below the truth) is what a hold is made of, the estimate (near the
truth) is what the token limit counts at admission and what is billed where an upstream reports nothing, and the
measure `at_least` (never above the truth) tells that more was made than was held, or than is reported.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# What chat templates add around messages and tools (role markers, a tool preamble) and no byte of the request shows.
TEMPLATE_TOKENS = 64
TOOLS_TEMPLATE_TOKENS = 512
# What the estimate takes for them; vendors' own figures lie around these.
MESSAGE_TOKENS = 4
MEDIA_PART_TOKENS = 300
BYTES_PER_TOKEN = 4  # English text; Persian runs at 5 to 6 in UTF-8, so this leans to the high side there


@dataclass(frozen=True, slots=True)
class PromptSize:
    """What a prompt is made of, in bytes of UTF-8 and in parts that are images, sounds or files.

    `text_bytes`: what messages and tool definitions say. `media_bytes`: the media parts' own JSON, inside the body.
    """

    messages: int
    text_bytes: int
    media_parts: int
    media_bytes: int
    tools: bool

    @property
    def estimate(self) -> int:
        """Near the truth, in tokens."""
        text = -(-self.text_bytes // BYTES_PER_TOKEN)
        return text + MESSAGE_TOKENS * self.messages + MEDIA_PART_TOKENS * self.media_parts

    def bound(self, body_bytes: int, *, media_part_tokens: int | None, context_tokens: int) -> int:
        """Never below the truth, in tokens: a token of every vocabulary stands for at least one byte of UTF-8.

        `body_bytes` is the length of the whole request as compact UTF-8 JSON: what else a template may put into the
        prompt stands there too. No prompt is longer than the context, which is also the bound of media parts that
        nobody has put a number to.
        """
        if self.media_parts and media_part_tokens is None:
            return context_tokens
        bound = body_bytes - self.media_bytes + self.media_parts * (media_part_tokens or 0)
        return min(bound + TEMPLATE_TOKENS + (TOOLS_TEMPLATE_TOKENS if self.tools else 0), context_tokens)


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
