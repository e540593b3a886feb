"""A new exchange rate writes new lists of the models whose price is given in dollars; nothing is repriced backwards."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from proxy.catalogue import offers, price_changes
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices import dollar_basis
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import ExchangeRate, Price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.served import quote

NEXT = timedelta(microseconds=1)  # two lists of a model never begin at the same moment


class NotTheNewest(Exception):
    """A rate that begins at this moment or later exists already."""


class BeyondBounds(Exception):
    """Prices of these models would need a second admin, or cannot be charged at all; their names."""

    def __init__(self, models: list[str]) -> None:
        super().__init__(models)
        self.models = models


@dataclass(frozen=True, slots=True)
class Change:
    """A list that a rate writes, and the one that it takes the place of at `valid_from`."""

    model: LanguageModel
    valid_from: datetime
    before: PriceQuote
    after: PriceQuote
    basis: DollarBasis


def changes(*, rial_per_dollar: int, valid_from: datetime) -> list[Change]:
    """What a rate would write. Raises NotTheNewest, BeyondBounds."""
    if ExchangeRate.objects.filter(valid_from__gte=valid_from).exists():
        raise NotTheNewest(valid_from)
    found, beyond = [], []
    for model in LanguageModel.objects.order_by("model_id"):
        for price in _from(model, valid_from):
            try:
                change = _change(model, price, rial_per_dollar=rial_per_dollar, rate_from=valid_from)
            except ValueError:
                beyond.append(model.model_id)
                continue
            if change is None:
                continue
            found.append(change)
            # A list that a second admin has let pass is no reason to ask again.
            if price_changes.needs_second(change.after) and not price_changes.needs_second(change.before):
                beyond.append(model.model_id)
    if beyond:
        raise BeyondBounds(sorted(set(beyond)))
    return found


def publish(*, rial_per_dollar: int, valid_from: datetime) -> ExchangeRate:
    """Stores a rate, at once where its moment is past, and the lists that it changes. Opens a transaction.

    Raises NotTheNewest, BeyondBounds; then nothing changes.
    """
    with transaction.atomic():
        list(LanguageModel.objects.select_for_update(no_key=True).order_by("pk"))
        valid_from = max(valid_from, timezone.now())
        to_write = changes(rial_per_dollar=rial_per_dollar, valid_from=valid_from)
        rate = ExchangeRate.objects.create(rial_per_dollar=rial_per_dollar, valid_from=valid_from)
        for change in to_write:
            offers.write_list(
                model=change.model, price=change.after, valid_from=change.valid_from, basis=change.basis
            )
    return rate


def _from(model: LanguageModel, moment: datetime) -> Iterator[Price]:
    """The list in force at a moment, and those that begin later."""
    current = offers.current_price(model=model, now=moment)
    if current is not None:
        yield current
    yield from Price.objects.filter(model=model, valid_from__gt=moment).order_by("valid_from")


def _change(
    model: LanguageModel, price: Price, *, rial_per_dollar: int, rate_from: datetime
) -> Change | None:
    """None where the list is not given in dollars. Raises ValueError."""
    basis = dollar_basis.read(price.dollar_basis)
    if basis is None:
        return None
    basis = basis.at_rate(rial_per_dollar=rial_per_dollar, rate_from=rate_from)
    begins = rate_from if price.valid_from < rate_from else price.valid_from + NEXT
    return Change(model, begins, quote(price), basis.in_rial(), basis)
