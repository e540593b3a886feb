"""Prices outside the bounds of the settings: they hold once a second admin has approved them."""

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import admins, approvals
from proxy.catalogue import offers, rates
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices import dollar_basis, price_rules, price_shape
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import Price, PriceChange
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.served import quote
from wallet.money import RIAL_PER_TOMAN, micro_from_rial
from wallet.wording import toman_in_sms

State = PriceChange.State


class AlreadyWaiting(Exception):
    """A price of this model is waiting already."""


class MomentTaken(Exception):
    """Another price of this model begins at the same moment."""


def needs_second(price: PriceQuote) -> bool:
    """Whether an admin cannot set this alone."""
    return price_rules.needs_second(
        price,
        min_rial=settings.PRICE_MIN_TOMAN * RIAL_PER_TOMAN,
        max_rial=settings.PRICE_MAX_TOMAN * RIAL_PER_TOMAN,
    )


def is_waiting(model_id: int | None) -> bool:
    return PriceChange.objects.filter(model_id=model_id, state=State.PENDING).exists()


def request(
    *,
    model_id: int,
    price: PriceQuote,
    valid_from: datetime,
    admin_id: int,
    basis: DollarBasis | None = None,
) -> None:
    """Stores a price that waits for a second admin. Opens a transaction. Raises AlreadyWaiting."""
    with transaction.atomic():
        LanguageModel.objects.select_for_update(no_key=True).get(pk=model_id)
        if is_waiting(model_id):
            raise AlreadyWaiting(model_id)
        PriceChange.objects.create(
            model_id=model_id,
            valid_from=valid_from,
            requested_by_id=admin_id,
            dollar_basis=dollar_basis.stored(basis),
            **price_shape.columns(price),
        )


def approve(*, change_id: int, admin_id: int) -> None:
    """Prices the model from the requested moment on, or from now on if that is past. Opens a transaction.

    Raises MomentTaken, rates.RateChanged and approvals' exceptions; then nothing changes.
    """
    with transaction.atomic():
        change = _waiting(change_id)
        approvals.check(requested_by_id=change.requested_by_id, admin_id=admin_id)
        model = LanguageModel.objects.select_for_update(no_key=True).get(pk=change.model_id)
        now = timezone.now()
        valid_from = max(change.valid_from, now)
        if Price.objects.filter(model=model, valid_from=valid_from).exists():
            raise MomentTaken(change_id)
        basis = dollar_basis.read(change.dollar_basis)
        if basis is not None:
            rates.check(basis, valid_from)
        offers.set_price(model=model, price=quote(change), valid_from=valid_from, basis=basis)
        for stored in Price.objects.filter(model=model, valid_from=valid_from):
            rates.follow(stored)
        change.state, change.decided_at, change.approved_by_id = State.APPROVED, now, admin_id
        change.save(update_fields=["state", "decided_at", "approved_by"])
        price = quote(change)
        what = _(
            "the price of %(model)s (input %(input)s, output %(output)s, cached input %(cached)s Toman per million "
            "tokens)"
        )
        if not price.is_plain:
            what = _(
                "the prices of %(model)s (input %(input)s, output %(output)s, cached input %(cached)s Toman per "
                "million tokens, and others)"
            )
        admins.tell_of_approval(
            admin_id=admin_id,
            what=what,
            model=model.model_id,
            input=_in_sms(price.input_rial_per_million),
            output=_in_sms(price.output_rial_per_million),
            cached=_in_sms(price.cached_input_rial_per_million),
        )


def reject(*, change_id: int) -> None:
    """Closes a change that waits. Opens a transaction. Raises approvals.AlreadyDecided."""
    with transaction.atomic():
        change = _waiting(change_id)
        change.state, change.decided_at = State.REJECTED, timezone.now()
        change.save(update_fields=["state", "decided_at"])


def _waiting(change_id: int) -> PriceChange:
    """The row under its lock, so that of two decisions at once the second finds the first."""
    change = PriceChange.objects.select_for_update(no_key=True).get(pk=change_id)
    if change.state != State.PENDING:
        raise approvals.AlreadyDecided(change_id)
    return change


def _in_sms(rial: int) -> str:
    return toman_in_sms(micro_from_rial(rial))
