"""What a request costs. Pure: whole micro-Rial from whole quantities, no Django, no floats.

A price in Rial per 1,000,000 tokens is the same number in micro-Rial per token, so every cost is an exact sum
of products. The bounds below keep the cost of any one request inside PostgreSQL's BIGINT.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from proxy.catalogue.prices.price_quote import COMPLETION, COMPONENTS, PER_PIECE, PROMPT, PriceQuote
from wallet.money import MICRO_PER_RIAL

TOKENS_MAX = 2**31 - 1  # what a usage record's token columns hold
CHARACTERS_MAX = 10**9
PIECES_MAX = 100_000
MICRO_MAX = 2**63 - 1

# Parts of the prompt and of the completion that may have a price of their own; what is left is plain text.
PROMPT_PARTS = (
    "cached_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
)
COMPLETION_PARTS = ("reasoning_tokens", "output_audio_tokens", "output_image_tokens")
# Which component each of them, and each of the units, is charged as.
CHARGED_AS: Mapping[str, str] = {
    "cached_tokens": "cached_input",
    **{name: name.removesuffix("_tokens") for name in (*PROMPT_PARTS[1:], *COMPLETION_PARTS)},
    "characters": "character",
    "images": "image",
    "audio_seconds": "audio_second",
    "pages": "page",
}


_parts = attrgetter(*PROMPT_PARTS, *COMPLETION_PARTS)
NO_PARTS = (0,) * len((*PROMPT_PARTS, *COMPLETION_PARTS))  # of most requests


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
        if _parts(self) != NO_PARTS:
            self._clamp(self.prompt_tokens, PROMPT_PARTS)
            self._clamp(self.completion_tokens, COMPLETION_PARTS)

    def _clamp(self, left: int, names: tuple[str, ...]) -> None:
        for name in names:
            said = getattr(self, name)
            if said.__class__ is int and 0 <= said <= left:
                left -= said
            else:
                part = min(max(said, 0), left) if said.__class__ is int else 0
                left -= part
                object.__setattr__(self, name, part)

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Units:
    """What a request used beside tokens. The images are of one size and quality, each empty where it is not known;
    seconds are whole, rounded up.

    Raises ValueError on a number that is negative or beyond what one request can have.
    """

    characters: int = 0
    images: int = 0
    audio_seconds: int = 0
    pages: int = 0
    image_size: str = ""
    image_quality: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.characters <= CHARACTERS_MAX:
            raise ValueError(f"{self.characters!r} is no number of characters.")
        for pieces in (self.images, self.audio_seconds, self.pages):
            if not 0 <= pieces <= PIECES_MAX:
                raise ValueError(f"{pieces!r} is no number of pieces.")


NO_UNITS = Units()


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a cost: so much of a component at so many Rial per million, or for one (`PER_PIECE`)."""

    component: str
    quantity: int
    rial: int

    @property
    def cost_micro(self) -> int:
        return self.quantity * self.rial * (MICRO_PER_RIAL if self.component in PER_PIECE else 1)


def cost_micro(usage: Usage, price: PriceQuote, units: Units = NO_UNITS) -> int:
    """The exact cost in micro-Rial."""
    if price.is_plain:
        return (
            (usage.prompt_tokens - usage.cached_tokens) * price.input_rial_per_million
            + usage.cached_tokens * price.cached_input_rial_per_million
            + usage.completion_tokens * price.output_rial_per_million
        )
    return sum(item.cost_micro for item in itemise(usage, price, units))


def itemise(usage: Usage, price: PriceQuote, units: Units = NO_UNITS) -> list[Item]:
    """The items of a cost, which are its sum: input, output, and every other component of which there was any."""
    quantities = {"input": usage.prompt_tokens, "output": usage.completion_tokens} | _beside_tokens(units)
    if _parts(usage) != NO_PARTS:
        for whole, names in (("input", PROMPT_PARTS), ("output", COMPLETION_PARTS)):
            for name in names:
                if part := getattr(usage, name):
                    quantities[whole] -= part
                    quantities[CHARGED_AS[name]] = part
    return items(
        quantities,
        price,
        prompt_tokens=usage.prompt_tokens,
        image_rial=price.image_rial(units.image_size, units.image_quality) if units.images else None,
    )


def items(
    quantities: Mapping[str, int], price: PriceQuote, *, prompt_tokens: int, image_rial: int | None = None
) -> list[Item]:
    """The items of quantities by component, of one request or of many in the same tier.

    `image_rial`: the price of this kind of image, where it has one of its own. What costs nothing because it is part
    of nothing and has no price is left out.
    """
    rial = price.rates_for(prompt_tokens).rial
    if image_rial is not None:
        rial = {**rial, "image": image_rial}
    return [
        Item(component, quantities[component], rial[component])
        for component in COMPONENTS
        if component in quantities and (rial[component] or component in PROMPT or component in COMPLETION)
    ]


def worst_case_micro(
    prompt_tokens: int, output_tokens: int, price: PriceQuote, units: Units = NO_UNITS
) -> int:
    """The most that a request with these upper bounds can cost, in micro-Rial: what its hold has to cover.

    Multiply `output_tokens` by `n` first. Cut at BIGINT's end, which no wallet covers.
    """
    bounds = _bounds(prompt_tokens, price, units)
    return min(
        max([before_output + output_tokens * output_rial for before_output, output_rial in bounds]), MICRO_MAX
    )


def affordable_output_tokens(
    amount_micro: int, prompt_tokens: int, price: PriceQuote, units: Units = NO_UNITS
) -> int | None:
    """How many output tokens `amount_micro` covers after the prompt; 0 if it does not cover the prompt.

    None: output is free and the prompt is covered, so the amount bounds nothing.
    """
    affordable: int | None = None
    for before_output, output_rial in _bounds(prompt_tokens, price, units):
        remaining_micro = amount_micro - before_output
        if remaining_micro < 0:
            return 0
        if output_rial:
            covered = remaining_micro // output_rial
            affordable = covered if affordable is None else min(affordable, covered)
    return affordable


def _bounds(prompt_tokens: int, price: PriceQuote, units: Units) -> Sequence[tuple[int, int]]:
    """By each level that a prompt of at most `prompt_tokens` may be priced at, and each price that the images may have:
    the most that all but the output can cost, in micro-Rial, and the most that a token of the output can.
    """
    if price.is_plain:
        rates = price.levels[0]
        return ((prompt_tokens * rates.dearest_input, rates.dearest_output),)
    quantities, bounds = _beside_tokens(units), []
    image_rials: set[int | None] = {None}
    if units.images and price.images:
        kinds = price.image_kinds(units.image_size, units.image_quality)
        image_rials = {price.image_rial(*kind) for kind in kinds}
    for rates in price.levels:
        if not rates.above_tokens < max(prompt_tokens, 1):
            break
        prompt_micro = min(prompt_tokens, rates.up_to_tokens) * rates.dearest_input
        for image_rial in image_rials:
            beside = items(quantities, price, prompt_tokens=rates.above_tokens + 1, image_rial=image_rial)
            bounds.append((prompt_micro + sum(item.cost_micro for item in beside), rates.dearest_output))
    return bounds


def _beside_tokens(units: Units) -> dict[str, int]:
    if units is NO_UNITS:
        return {"request": 1}
    found = {
        CHARGED_AS[name]: count
        for name in ("characters", "images", "audio_seconds", "pages")
        if (count := getattr(units, name))
    }
    return {**found, "request": 1}
