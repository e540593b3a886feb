"""How many tokens a text may be, without a tokenizer. Pure.

Two figures with two jobs: the bound (never below the truth) is what a hold is made of, the estimate (near the
truth) is what the token limit counts at admission and what is billed where an upstream reports nothing.
"""

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
