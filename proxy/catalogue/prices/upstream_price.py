"""What an upstream charges the operator for a route, in dollars or Rial. Pure: no Django.

A list in dollars (`PriceQuote`) has whole micro-dollars where one for customers has whole Rial. So a cost in it comes
out in millionths of these, as micro-Rial do.
"""

from dataclasses import dataclass
from typing import Any

from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.by_piece import Used
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import cost_micro

DOLLARS, RIAL = "usd", "rial"
PICO_PER_NANO = 1_000


@dataclass(frozen=True, slots=True)
class UpstreamPrice:
    """Whole micro-dollars or whole Rial."""

    currency: str  # DOLLARS or RIAL
    price: PriceQuote


def read(stored: Any) -> UpstreamPrice | None:
    """What `stored` made of a list; None of None. Raises ValueError on another shape."""
    if stored is None:
        return None
    if not isinstance(stored, dict) or stored.get("currency") not in (DOLLARS, RIAL):
        raise ValueError(f"The prices of an upstream need a currency of theirs: {stored!r}.")
    document = {name: part for name, part in stored.items() if name != "currency"}
    return UpstreamPrice(stored["currency"], price_shape.read_document(document))


def stored(price: UpstreamPrice) -> dict[str, Any]:
    return {"currency": price.currency, **price_shape.document(price.price)}


def cost_columns(
    price: UpstreamPrice | None, used: Used, *, reported_nanodollars: int | None
) -> dict[str, int | None]:
    """What a usage record keeps of it; what the upstream itself says that it charges comes first."""
    if price is None or reported_nanodollars is not None:
        return {"upstream_cost_nanodollars": reported_nanodollars}
    usage, units = used.charged_by(price.price)
    cost = cost_micro(usage, price.price, units)
    if price.currency == RIAL:
        return {"upstream_cost_micro": cost}
    return {"upstream_cost_nanodollars": -(-cost // PICO_PER_NANO)}
