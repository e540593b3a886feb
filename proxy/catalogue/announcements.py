"""Webhooks are told of a price when it is entered or approved, if it begins later."""

from django.utils import timezone

from accounts.signals import outbox
from accounts.signals.events import Event
from proxy.catalogue import public_list
from proxy.catalogue.prices.models import Price
from proxy.catalogue.served import dated


def announce(price: Price) -> None:
    """Needs the transaction that writes the price."""
    if price.valid_from > timezone.now() and price.model.is_active:
        outbox.emit_to_all(
            event=Event.PRICE_ANNOUNCED,
            data={"model": price.model.model_id, "pricing": public_list.pricing(dated(price))},
            dedup=f"price {price.pk}",
        )
