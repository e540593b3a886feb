"""Which new price lists have to be confirmed (far from the last one, or zero), and which a second admin decides on.

Pure: no Django.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.catalogue.prices.price_quote import PER_PIECE, Place, PriceQuote

JUMP_FACTOR = 5  # a Toman typed as a Rial, or the other way round, is off by ten
TOKENS_OF_A_PIECE = 10_000  # a piece may cost what so many tokens may


@dataclass(frozen=True, slots=True)
class Jump:
    """A price that rose or fell by a factor of `JUMP_FACTOR` or more."""

    place: Place
    before: int
    after: int


class NotConfirmed(ValueError):
    """A price list that has to be confirmed and was not."""

    def __init__(self, *, jumps: Sequence[Jump] = (), free: Sequence[Place] = ()) -> None:
        super().__init__(jumps, free)
        self.jumps, self.free = jumps, free


def jumps(before: PriceQuote | None, after: PriceQuote) -> list[Jump]:
    """What is far from the last list; without one, nothing. A price of zero is left to `free`."""
    if before is None:
        return []
    moved = [Jump(place, before.at(place), after.at(place)) for place in before.prices | after.prices]
    return [jump for jump in moved if jump.after and is_jump(jump.before, jump.after)]


def is_jump(before: int, after: int) -> bool:
    return after >= before * JUMP_FACTOR or after * JUMP_FACTOR <= before


def free(before: PriceQuote | None, after: PriceQuote) -> list[Place]:
    """What costs nothing by the list's own word, or did cost something before."""
    given_up = before.prices if before else {}
    return [
        place
        for place in given_up | after.prices
        if not after.at(place) and (place in after.prices or given_up[place])
    ]


def check(before: PriceQuote | None, after: PriceQuote, *, jump_meant: bool, free_meant: bool) -> None:
    """Raises NotConfirmed."""
    unmeant_jumps = [] if jump_meant else jumps(before, after)
    unmeant_free = [] if free_meant else free(before, after)
    if unmeant_jumps or unmeant_free:
        raise NotConfirmed(jumps=unmeant_jumps, free=unmeant_free)


def needs_second(price: PriceQuote, *, min_rial: int, max_rial: int) -> bool:
    """Whether one admin cannot set this alone: it is outside the bounds (Rial per million), or something is free.

    Cached input may cost less than the minimum, and so may pieces; one of them may cost what `TOKENS_OF_A_PIECE` may.
    """

    def is_bounded(place: Place, rial: int) -> bool:
        if place.component in PER_PIECE:
            return rial <= max_rial * TOKENS_OF_A_PIECE // 1_000_000
        return rial <= max_rial and (rial >= min_rial or place.component == "cached_input")

    return bool(free(None, price)) or not all(is_bounded(*priced) for priced in price.prices.items())
