"""A price list as one request sees it: components, tiers by the length of the prompt, images. Pure: no Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

RIAL_PER_MILLION_MAX = 1_000_000_000  # 100 million Toman per million tokens: far above any real price
RIAL_PER_PIECE_MAX = 10_000_000  # a million Toman for an image, a page, a second, a request
ABOVE_TOKENS_MAX = 100_000_000  # beyond every context
TIERS_MAX = 5
IMAGES_MAX = 12
NO_END = 2**63 - 1

# Every component of a price list, and what it is part of: without a price of its own it costs what that costs.
# A component that is part of nothing is free where it has no price.
PART_OF: Mapping[str, str | None] = {
    "input": None,
    "cached_input": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "input",
    "input_audio": "input",
    "input_image": "input",
    "output": None,
    "reasoning": "output",
    "output_audio": "output",
    "output_image": "output",
    "character": None,
    "image": None,
    "audio_second": None,
    "page": None,
    "request": None,
}
COMPONENTS = tuple(PART_OF)
PER_PIECE = frozenset(("image", "audio_second", "page", "request"))  # the others: per 1,000,000
PROMPT = frozenset(name for name, whole in PART_OF.items() if "input" in (name, whole))
COMPLETION = frozenset(name for name, whole in PART_OF.items() if "output" in (name, whole))
PLAIN = frozenset(("input", "output", "cached_input"))


@dataclass(frozen=True, slots=True)
class Tier:
    """Prices, by component, of requests whose prompt is longer than `above_tokens`."""

    above_tokens: int
    rial: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ImagePrice:
    """Rial for one image of a size and a quality; an empty one stands for any."""

    rial: int
    size: str = ""
    quality: str = ""


class Place(NamedTuple):
    """Where a price stands in a list: its component, the tier that it begins in, and of an image size and quality."""

    component: str
    above_tokens: int = 0
    size: str = ""
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Rates:
    """Rial of every component where the prompt is above `above_tokens` and at most `up_to_tokens`."""

    above_tokens: int
    up_to_tokens: int
    rial: Mapping[str, int]
    dearest_input: int
    dearest_output: int


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """A model's price list as one request sees it: whole Rial per million, or for one piece (`PER_PIECE`).

    `further` are components beside the first three. Any component may have another price in a tier: the highest one
    that the prompt passes prices the whole request. Without a price for cached input, cached input costs what input
    costs, and so on (`PART_OF`). Lists are equal where they charge the same.

    Raises ValueError on what is no price list.
    """

    input_rial_per_million: int = field(compare=False)
    output_rial_per_million: int = field(compare=False)
    # Filled below; never None to a reader.
    cached_input_rial_per_million: int = field(default=None, compare=False)  # type: ignore[assignment]
    further: Mapping[str, int] = field(default_factory=dict, compare=False)
    tiers: tuple[Tier, ...] = field(default=(), compare=False)
    images: tuple[ImagePrice, ...] = ()
    # What it says itself, by component, without tiers.
    own: Mapping[str, int] = field(init=False, compare=False, repr=False)
    levels: tuple[Rates, ...] = field(init=False, repr=False, hash=False)
    is_plain: bool = field(init=False, compare=False, repr=False)  # the first three components are all of it

    def __post_init__(self) -> None:
        own = {"input": self.input_rial_per_million, "output": self.output_rial_per_million}
        if self.cached_input_rial_per_million is not None:
            own["cached_input"] = self.cached_input_rial_per_million
        own |= self.further
        if not PLAIN.isdisjoint(self.further):
            raise ValueError("Input, output and cached input are given by themselves.")
        _check(own, self.tiers, self.images)
        levels = _levels(own, self.tiers)
        fill = {
            "cached_input_rial_per_million": levels[0].rial["cached_input"],
            "own": own,
            "levels": levels,
            "is_plain": len(levels) == 1 and own.keys() <= PLAIN and not self.images,
        }
        for name, value in fill.items():
            object.__setattr__(self, name, value)

    @property
    def prices(self) -> dict[Place, int]:
        """Every price that the list says itself, in the order of `COMPONENTS`."""
        tiers = (Tier(0, self.own), *self.tiers)
        return {
            **{
                Place(name, tier.above_tokens): tier.rial[name]
                for tier in tiers
                for name in COMPONENTS
                if name in tier.rial
            },
            **{Place("image", 0, image.size, image.quality): image.rial for image in self.images},
        }

    def at(self, place: Place) -> int:
        """What is charged there, whether or not the list has a price of its own for it."""
        of_kind = self.image_rial(place.size, place.quality) if place.component == "image" else None
        return self.rates_for(place.above_tokens + 1).rial[place.component] if of_kind is None else of_kind

    def rates_for(self, prompt_tokens: int) -> Rates:
        """What a request with this prompt costs, by component."""
        rates = self.levels[0]
        for higher in self.levels[1:]:
            if prompt_tokens <= higher.above_tokens:
                break
            rates = higher
        return rates

    def image_rial(self, size: str, quality: str) -> int | None:
        """The price of such an image, where the list has one; size and quality together before either alone."""
        prices = {(image.size, image.quality): image.rial for image in self.images}
        fits = ((size, quality), (size, ""), ("", quality))
        return next((prices[fit] for fit in fits if fit in prices), None)

    def image_kinds(self, size: str, quality: str) -> set[tuple[str, str]]:
        """Sizes and qualities that such an image may turn out to have, as far as the list tells them apart.

        An empty one is not known yet; in what is returned it stands for any that the list does not name.
        """
        sizes = {size} if size else {"", *(image.size for image in self.images)}
        qualities = {quality} if quality else {"", *(image.quality for image in self.images)}
        return set(product(sizes, qualities))

    def has_price_of(self, component: str) -> bool:
        """Whether the list says itself what it costs, be it nothing; higher tiers apart."""
        return component in self.own or (component == "image" and bool(self.images))


def _levels(own: Mapping[str, int], tiers: tuple[Tier, ...]) -> tuple[Rates, ...]:
    """The prices of every component, for each range of prompts."""
    starts = [0, *(tier.above_tokens for tier in tiers)]
    levels, said = [], dict(own)
    for above, up_to, tier in zip(starts, [*starts[1:], NO_END], [None, *tiers], strict=True):
        said |= tier.rial if tier else {}
        rial = {name: said.get(name, said.get(whole or "", 0)) for name, whole in PART_OF.items()}
        levels.append(
            Rates(
                above_tokens=above,
                up_to_tokens=up_to,
                rial=rial,
                dearest_input=max(rial[name] for name in PROMPT),
                dearest_output=max(rial[name] for name in COMPLETION),
            )
        )
    return tuple(levels)


def _check(own: Mapping[str, int], tiers: tuple[Tier, ...], images: tuple[ImagePrice, ...]) -> None:
    """Raises ValueError with a sentence."""
    for component, rial in (
        pair for prices in (own, *(tier.rial for tier in tiers)) for pair in prices.items()
    ):
        check_rial(component, rial)
    for image in images:
        check_rial("image", image.rial)
        if not (image.size or image.quality):
            raise ValueError("An image price of its own is for a size or a quality.")
    if len({(image.size, image.quality) for image in images}) < len(images):
        raise ValueError("There are two prices for images of the same size and quality.")
    if len(tiers) > TIERS_MAX or len(images) > IMAGES_MAX:
        raise ValueError(
            f"A price list has at most {TIERS_MAX} tiers, and {IMAGES_MAX} prices for kinds of images."
        )
    above = 0
    for tier in tiers:
        if type(tier.above_tokens) is not int or not above < tier.above_tokens <= ABOVE_TOKENS_MAX:
            raise ValueError(
                f"A tier must begin above the one before it, and not above {ABOVE_TOKENS_MAX:,} tokens: "
                f"{tier.above_tokens!r} does not."
            )
        if not tier.rial:
            raise ValueError(f"The tier above {tier.above_tokens:,} tokens has no price.")
        above = tier.above_tokens


def check_rial(component: str, rial: int) -> None:
    """Raises ValueError with a sentence where this is no price of such a component."""
    if component not in PART_OF:
        raise ValueError(f"There is no component {component!r}; there are {', '.join(COMPONENTS)}.")
    most, each = rial_max(component), "" if component in PER_PIECE else " per million"
    if type(rial) is not int or not 0 <= rial <= most:
        figure = f"{rial:,}" if type(rial) is int else repr(rial)
        raise ValueError(f"A price must be 0 to {most:,} Rial{each} for {component}, not {figure}.")


def rial_max(component: str) -> int:
    """The highest price that a component can have."""
    return RIAL_PER_PIECE_MAX if component in PER_PIECE else RIAL_PER_MILLION_MAX
