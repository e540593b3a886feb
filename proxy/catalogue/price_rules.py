"""Which new prices have to be confirmed (far from the last one, or zero), and which a second admin decides on.

Pure: no Django.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from proxy.catalogue.price_quote import PriceQuote

JUMP_FACTOR = 5  # a Toman typed as a Rial, or the other way round, is off by ten


@dataclass(frozen=True, slots=True)
class Jump:
    """A component (a field of PriceQuote) that rose or fell by a factor of `JUMP_FACTOR` or more."""

    component: str
    before: int
    after: int


class NotConfirmed(ValueError):
    """A price that has to be confirmed and was not."""

    def __init__(self, *, jumps: Sequence[Jump] = (), free: Sequence[str] = ()) -> None:
        super().__init__(jumps, free)
        self.jumps, self.free = jumps, free


def jumps(before: PriceQuote | None, after: PriceQuote) -> list[Jump]:
    """What is far from the last price; without one, nothing. A price of zero is left to `free`."""
    if before is None:
        return []
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in _components(before, after)]
    return [
        Jump(name, old, new)
        for name, old, new in pairs
        if new and (new >= old * JUMP_FACTOR or new * JUMP_FACTOR <= old)
    ]


def free(after: PriceQuote) -> list[str]:
    """The components that are free."""
    return [name for name in _components(after) if not getattr(after, name)]


def check(before: PriceQuote | None, after: PriceQuote, *, jump_meant: bool, free_meant: bool) -> None:
    """Raises NotConfirmed."""
    unmeant_jumps = [] if jump_meant else jumps(before, after)
    unmeant_free = [] if free_meant else free(after)
    if unmeant_jumps or unmeant_free:
        raise NotConfirmed(jumps=unmeant_jumps, free=unmeant_free)


def needs_second(price: PriceQuote, *, min_rial: int, max_rial: int) -> bool:
    """Whether one admin cannot set this alone: it is outside the bounds, or a component is free.

    Cached input may cost less than the minimum.
    """
    bounded = (price.input_rial_per_million, price.output_rial_per_million)
    return bool(free(price)) or any(not min_rial <= rial <= max_rial for rial in bounded)


def _components(*prices: PriceQuote) -> list[str]:
    """Those with a price of their own: cached input at the price of input has none."""
    has_cached = any(price.cached_input_rial_per_million != price.input_rial_per_million for price in prices)
    names = [field.name for field in fields(PriceQuote)]
    return [name for name in names if has_cached or name != "cached_input_rial_per_million"]
