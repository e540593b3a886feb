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


# What real vocabularies hold in one token at most, on average over a text (tests/proxy/measured_texts.json): letters
# and digits, whatever their script; bytes, where nothing else is known of the text; and spaces, rules, leaders.
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

    def add(self, texts: Iterable[str]) -> int:
        """Counts the texts of one event; how many bytes they are."""
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
        """To come back to: `TextSize(*figures)`."""
        return self.text_bytes, self.characters, self.marks, self.deltas

    def exceeds(self, tokens: int) -> bool:
        """Whether it is certainly longer than so many tokens."""
        # The first condition is cheap, and true of whatever `at_least` can find longer.
        may = self.deltas > tokens or self.characters > LETTERS_PER_TOKEN * tokens
        return may and self.at_least > tokens

    @property
    def at_least(self) -> int:
        """Never above the true number of tokens."""
        return at_least(self.text_bytes, self.deltas, letters=self.characters - self.marks, marks=self.marks)

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
