"""What tokens cost. Pure: whole micro-Rial from whole tokens, no Django, no floats.

A price in Rial per 1,000,000 tokens is the same number in micro-Rial per token, so every cost is an exact sum
of products. The two bounds keep the cost of any one request inside PostgreSQL's BIGINT.
"""

from dataclasses import dataclass

RIAL_PER_MILLION_MAX = 1_000_000_000  # 100 million Toman per million tokens: far above any real price
TOKENS_MAX = 2**31 - 1  # what a usage record's token columns hold
MICRO_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """A model's price as one request sees it, in Rial per million tokens (= micro-Rial per token).

    Without a price for cached input, cached input costs what input costs; it is never dearer.
    Raises ValueError on a price that is negative, beyond `RIAL_PER_MILLION_MAX`, or dearer cached than not.
    """

    input_rial_per_million: int
    output_rial_per_million: int
    cached_input_rial_per_million: int = None  # type: ignore[assignment]  # filled below; never None to a reader

    def __post_init__(self) -> None:
        if self.cached_input_rial_per_million is None:
            object.__setattr__(self, "cached_input_rial_per_million", self.input_rial_per_million)
        for price in (self.input_rial_per_million, self.output_rial_per_million):
            if not 0 <= price <= RIAL_PER_MILLION_MAX:
                raise ValueError(
                    f"A price must be 0 to {RIAL_PER_MILLION_MAX:,} Rial per million tokens, not {price:,}."
                )
        if not 0 <= self.cached_input_rial_per_million <= self.input_rial_per_million:
            raise ValueError("Cached input must cost between nothing and what input costs.")


# Parts of the prompt and of the completion that may have a price of their own; what is left is plain text.
PROMPT_PARTS = (
    "cached_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
)
COMPLETION_PARTS = ("reasoning_tokens", "output_audio_tokens", "output_image_tokens")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. Prompt and completion include their parts, which are clamped into them in their order.

    Raises ValueError where prompt or completion is no whole number of 0 to `TOKENS_MAX`: an upstream that
    reports such a thing has reported nothing.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0

    def __post_init__(self) -> None:
        for tokens in (self.prompt_tokens, self.completion_tokens):
            if type(tokens) is not int or not 0 <= tokens <= TOKENS_MAX:
                raise ValueError(f"{tokens!r} is no number of tokens.")
        for whole, names in ((self.prompt_tokens, PROMPT_PARTS), (self.completion_tokens, COMPLETION_PARTS)):
            left = whole
            for name in names:
                said = getattr(self, name)
                part = min(max(said, 0), left) if type(said) is int else 0
                left -= part
                if part is not said:
                    object.__setattr__(self, name, part)

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def cost_micro(usage: Usage, price: PriceQuote) -> int:
    """The exact cost in micro-Rial."""
    return (
        (usage.prompt_tokens - usage.cached_tokens) * price.input_rial_per_million
        + usage.cached_tokens * price.cached_input_rial_per_million
        + usage.completion_tokens * price.output_rial_per_million
    )


def itemised(usage: Usage, price: PriceQuote) -> tuple[tuple[str, int, int], ...]:
    """Component, quantity and micro-Rial of all that a usage consists of; their sum is `cost_micro`."""
    quantities = (
        ("input", usage.prompt_tokens - usage.cached_tokens, price.input_rial_per_million),
        ("cached_input", usage.cached_tokens, price.cached_input_rial_per_million),
        ("output", usage.completion_tokens, price.output_rial_per_million),
    )
    return tuple((name, quantity, quantity * price) for name, quantity, price in quantities if quantity)


def worst_case_micro(prompt_tokens: int, output_tokens: int, price: PriceQuote) -> int:
    """The most that a request with these upper bounds can cost, in micro-Rial: what its hold has to cover.

    Multiply `output_tokens` by `n` first. Cut at BIGINT's end, which no wallet covers.
    """
    worst = prompt_tokens * price.input_rial_per_million + output_tokens * price.output_rial_per_million
    return min(worst, MICRO_MAX)


def affordable_output_tokens(amount_micro: int, prompt_tokens: int, price: PriceQuote) -> int | None:
    """How many output tokens `amount_micro` covers after the prompt; 0 if it does not cover the prompt.

    None: output is free and the prompt is covered, so the amount bounds nothing.
    """
    remaining_micro = amount_micro - prompt_tokens * price.input_rial_per_million
    if remaining_micro < 0:
        return 0
    if not price.output_rial_per_million:
        return None
    return remaining_micro // price.output_rial_per_million
