"""A price list that is given in US dollars: mark-up and exchange rate turn it into whole Rial. Pure: no Django."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.price_quote import ImagePrice, PriceQuote

RIAL_PER_DOLLAR_MAX = 1_000_000_000
MARKUP_MAX_BASIS_POINTS = 100_000  # ten times the price on top
MICRO_PER_DOLLAR = 1_000_000
WHOLE = 10_000  # basis points


@dataclass(frozen=True, slots=True)
class DollarBasis:
    """`dollars` has whole micro-dollars in the place of Rial. The rate is the one that began at `rate_from`."""

    dollars: PriceQuote
    markup_basis_points: int
    rial_per_dollar: int
    rate_from: datetime

    def __post_init__(self) -> None:
        if not 0 <= self.markup_basis_points <= MARKUP_MAX_BASIS_POINTS:
            raise ValueError(f"A mark-up is 0 to {MARKUP_MAX_BASIS_POINTS // 100} per cent.")
        if not 0 < self.rial_per_dollar <= RIAL_PER_DOLLAR_MAX:
            raise ValueError(
                f"A dollar costs 1 to {RIAL_PER_DOLLAR_MAX:,} Rial, not {self.rial_per_dollar:,}."
            )

    def in_rial(self) -> PriceQuote:
        """Each price rounded up to a whole Rial. Raises ValueError where one is beyond what can be charged."""

        def rial(micro_dollars: int) -> int:
            product = micro_dollars * self.rial_per_dollar * (WHOLE + self.markup_basis_points)
            return -(-product // (MICRO_PER_DOLLAR * WHOLE))

        def all_in_rial(prices: Mapping[str, int]) -> dict[str, int]:
            return {component: rial(price) for component, price in prices.items()}

        return price_shape.of_components(
            all_in_rial(self.dollars.own),
            {tier.above_tokens: all_in_rial(tier.rial) for tier in self.dollars.tiers},
            images=tuple(
                ImagePrice(rial(image.rial), image.size, image.quality) for image in self.dollars.images
            ),
        )

    def at_rate(self, *, rial_per_dollar: int, rate_from: datetime) -> "DollarBasis":
        return replace(self, rial_per_dollar=rial_per_dollar, rate_from=rate_from)


def stored(basis: DollarBasis | None) -> dict[str, Any] | None:
    if basis is None:
        return None
    return {
        "dollars": price_shape.document(basis.dollars),
        "markup_basis_points": basis.markup_basis_points,
        "rial_per_dollar": basis.rial_per_dollar,
        "rate_from": basis.rate_from.isoformat(),
    }


def read(value: Any) -> DollarBasis | None:
    """What `stored` made; None of None. Raises ValueError on another shape."""
    if value is None:
        return None
    try:
        return DollarBasis(
            price_shape.read_document(value["dollars"]),
            value["markup_basis_points"],
            value["rial_per_dollar"],
            datetime.fromisoformat(value["rate_from"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"This is no dollar basis: {value!r}.") from error
