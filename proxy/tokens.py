"""How many tokens a text may be, without a tokenizer. Pure.

Two figures with two jobs: the bound (never below the truth) is what a hold is made of, the estimate (near the
truth) is what the token limit counts at admission and what is billed where an upstream reports nothing.
"""

# What chat templates add around messages and tools (role markers, a tool preamble) and no byte of the request shows.
TEMPLATE_TOKENS = 64
TOOLS_TEMPLATE_TOKENS = 512
# What the estimate takes for them; vendors' own figures lie around these.
MESSAGE_TOKENS = 4
MEDIA_PART_TOKENS = 300
BYTES_PER_TOKEN = 4  # English text; Persian runs at 5 to 6 in UTF-8, so this leans to the high side there


def prompt_bound(body_bytes: int, *, tools: bool, context_tokens: int) -> int:
    """Upper bound of the prompt's tokens: a token of every vocabulary in use stands for at least one byte of UTF-8.

    `body_bytes` is the length of the whole request as compact UTF-8 JSON. No prompt is longer than the context.
    """
    bound = body_bytes + TEMPLATE_TOKENS + (TOOLS_TEMPLATE_TOKENS if tools else 0)
    return min(bound, context_tokens)


def prompt_estimate(text_bytes: int, *, messages: int, media_parts: int) -> int:
    """`text_bytes`: UTF-8 bytes of what the messages and tool definitions say, without the JSON around it."""
    return -(-text_bytes // BYTES_PER_TOKEN) + MESSAGE_TOKENS * messages + MEDIA_PART_TOKENS * media_parts


def completion_estimate(text_bytes: int, deltas: int) -> int:
    """`deltas`: stream events that carried text, each of at least one token."""
    return max(deltas, -(-text_bytes // BYTES_PER_TOKEN))
