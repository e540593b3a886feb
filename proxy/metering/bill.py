"""What was debited for one request, and for what. Pure."""

from dataclasses import dataclass
from typing import Any

from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import NO_UNITS, Units, Usage, itemise
from wallet.money import MICRO_PER_TOMAN

NOT_CHARGED = "not_charged"


@dataclass(frozen=True, slots=True)
class Bill:
    """Which tokens and pieces were billed at which price, and what was debited: never more than was held."""

    usage: Usage
    price: PriceQuote
    cost_micro: int
    units: Units = NO_UNITS

    @property
    def cost_toman(self) -> float:
        """For clients, beside the exact entry in the statement: a JSON number has no more digits."""
        return self.cost_micro / MICRO_PER_TOMAN

    def cost_details(self) -> dict[str, Any]:
        """Quantity and Toman of each component that was used; together they are what was debited.

        What went beyond the hold is not charged, and stands there as a negative amount.
        """
        items = itemise(self.usage, self.price, self.units)
        details: dict[str, Any] = {
            item.component: {"quantity": item.quantity, "toman": item.cost_micro / MICRO_PER_TOMAN}
            for item in items
            if item.quantity
        }
        if beyond_micro := sum(item.cost_micro for item in items) - self.cost_micro:
            details[NOT_CHARGED] = {"toman": -beyond_micro / MICRO_PER_TOMAN}
        return details
