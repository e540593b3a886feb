"""Which exchange rate holds when, and what becomes of a list in dollars at the rates that are known to come."""

from collections.abc import Iterator
from datetime import datetime

from proxy.catalogue import offers
from proxy.catalogue.prices import dollar_basis
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import ExchangeRate, Price


class RateChanged(Exception):
    """A price is given in dollars, and another exchange rate holds than the one it was made by."""


def rate_at(moment: datetime) -> ExchangeRate | None:
    return ExchangeRate.objects.filter(valid_from__lte=moment).order_by("-valid_from").first()


def check(basis: DollarBasis, moment: datetime) -> None:
    """Raises RateChanged where another rate than that of the list holds at its moment."""
    rate = rate_at(moment)
    if rate is None or rate.rial_per_dollar != basis.rial_per_dollar:
        raise RateChanged(moment)


def at_later_rates(basis: DollarBasis, moment: datetime) -> Iterator[DollarBasis]:
    """What a list that begins at a moment is given as at each rate after it."""
    for rate in ExchangeRate.objects.filter(valid_from__gt=moment).order_by("valid_from"):
        yield basis.at_rate(rial_per_dollar=rate.rial_per_dollar, rate_from=rate.valid_from)


def follow(price: Price) -> None:
    """Writes the lists that a new one becomes at later rates, up to the next list of its model. Needs a transaction."""
    basis = dollar_basis.read(price.dollar_basis)
    if basis is None:
        return
    later = Price.objects.filter(model=price.model, valid_from__gt=price.valid_from)
    next_list = later.order_by("valid_from").first()
    for changed in at_later_rates(basis, price.valid_from):
        if next_list is not None and next_list.valid_from <= changed.rate_from:
            return
        offers.write_list(
            model=price.model, price=changed.in_rial(), valid_from=changed.rate_from, basis=changed
        )
