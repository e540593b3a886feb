"""A price list and when it begins. Pure: no Django."""

from dataclasses import dataclass
from datetime import datetime

from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.price_quote import PriceQuote


@dataclass(frozen=True, slots=True)
class DatedPrice:
    """`dollar_basis`: what it was made of; None where it was given in Toman."""

    price: PriceQuote
    valid_from: datetime
    dollar_basis: DollarBasis | None
