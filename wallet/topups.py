"""Money that comes in through a gateway: created → redirected → returned → credited, failed, expired or review.

What the payer's browser says proves nothing: a top-up is credited when the gateway, asked server to server about
the authority and the amount in our own row, says that it was paid. A top-up that failed or expired is asked about
again when its payer comes back, so that a late payment is credited too.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from wallet import gateways, invoices, ledger, tiers, vat
from wallet.gateways.interface import AmountDiffers, GatewayError, NotPaid, PaymentRequest, Pending, Verified
from wallet.models import JournalEntry, TopUp, Wallet
from wallet.money import micro_from_toman

logger = logging.getLogger(__name__)

Status = TopUp.Status
UNFINISHED = (Status.CREATED, Status.REDIRECTED, Status.RETURNED)
SETTLED = (Status.CREDITED, Status.REVIEW)
# The reconciler leaves the payer's own return this much time to do the work.
ASK_RETURNED_AFTER = timedelta(seconds=30)
ASK_REDIRECTED_AFTER = timedelta(minutes=2)
EXPIRE_AFTER = timedelta(minutes=30)
REVIEW_AFTER = timedelta(days=1)
RECONCILE_BATCH = 50


class AmountOutOfRange(Exception):
    """Less than the smallest or more than the largest top-up that the settings allow."""


class PaymentsNotConfigured(Exception):
    """This installation takes no payments."""


class GatewayUnavailable(Exception):
    """The gateway would not start the payment; nothing was paid."""


class NoWallet(Exception):
    """The user has no wallet to credit."""


class UnknownTopUp(Exception):
    """There is no such top-up, or it is somebody else's."""


@dataclass(frozen=True, slots=True)
class ListedTopUp:
    """`amount_micro` is for the wallet, `vat_micro` is paid on top of it."""

    topup_id: UUID
    amount_micro: int
    vat_micro: int
    payable_micro: int
    status: Status
    ref_id: str | None
    created_at: datetime


def quote(*, amount_micro: int) -> vat.Quote:
    """What the payer pays today for an amount in the wallet. Raises AmountOutOfRange."""
    if (
        not micro_from_toman(settings.TOPUP_MIN_TOMAN)
        <= amount_micro
        <= micro_from_toman(settings.TOPUP_MAX_TOMAN)
    ):
        raise AmountOutOfRange(amount_micro)
    return vat.quote(net_micro=amount_micro, day=timezone.localdate())


def start(*, user_id: int, amount_micro: int, callback_url: Callable[[UUID], str]) -> str:
    """Fixes the amounts in a row of ours, starts the payment and returns where the payer has to go.

    `amount_micro` is for the wallet; VAT comes on top (`quote`).
    Calls the gateway, so it belongs outside transactions. Raises AmountOutOfRange, PaymentsNotConfigured, NoWallet,
    GatewayUnavailable.
    """
    gateway = gateways.configured()
    if gateway is None:
        raise PaymentsNotConfigured
    price = quote(amount_micro=amount_micro)
    if not Wallet.objects.filter(pk=user_id).exists():
        raise NoWallet(user_id)
    mobile = User.objects.values_list("mobile", flat=True).get(pk=user_id)
    topup = TopUp.objects.create(
        user_id=user_id,
        gateway=gateway.name,
        amount_micro=amount_micro,
        vat_micro=price.vat_micro,
        vat_basis_points=price.basis_points,
    )
    started = gateway.start(
        PaymentRequest(
            topup_id=topup.pk,
            amount_micro=topup.payable_micro,
            mobile=mobile,
            callback_url=callback_url(topup.pk),
        )
    )
    if isinstance(started, GatewayError):
        logger.warning("payment not started", extra={"topup": topup.pk, "detail": started.detail})
        _close(topup.pk, Status.FAILED)
        raise GatewayUnavailable
    TopUp.objects.filter(pk=topup.pk).update(status=Status.REDIRECTED, authority=started.authority)
    return started.redirect_url


def come_back(*, topup_id: UUID) -> None:
    """The payer's browser is back, whatever it says: notes that and asks the gateway. Repeats are harmless.

    Calls the gateway, so it belongs outside transactions. Raises UnknownTopUp.
    """
    now = timezone.now()
    TopUp.objects.filter(pk=topup_id, status=Status.REDIRECTED).update(
        status=Status.RETURNED, returned_at=now
    )
    settle(topup_id=topup_id)


def check(*, user_id: int, topup_id: UUID) -> None:
    """Asks the gateway about one's own top-up without claiming to be back from it. Raises UnknownTopUp."""
    get(user_id=user_id, topup_id=topup_id)
    settle(topup_id=topup_id)


def settle(*, topup_id: UUID) -> None:
    """Asks the gateway about a top-up and does what its answer says: credit, fail, expire, review, or wait.

    Verifies outside any transaction, then changes state and journal in one. Safe to repeat and to run in parallel;
    dying anywhere in between leaves work for the next call. Raises UnknownTopUp.
    """
    topup = TopUp.objects.filter(pk=topup_id).first()
    if topup is None:
        raise UnknownTopUp(topup_id)
    if topup.status in SETTLED:
        return
    age = timezone.now() - topup.created_at
    if topup.authority is None:
        # We never learned an authority, so the payer was never sent anywhere and cannot have paid.
        if age > EXPIRE_AFTER:
            _close(topup_id, Status.EXPIRED)
        return
    answer = gateways.named(topup.gateway).verify(authority=topup.authority, amount_micro=topup.payable_micro)
    match answer:
        case Verified(ref_id=ref_id):
            _credit(topup_id, ref_id=ref_id)
        case AmountDiffers(detail=detail):
            logger.error("top-up amount differs", extra={"topup": topup_id, "detail": detail})
            _hand_over(topup_id)
        case NotPaid() if topup.status == Status.RETURNED:
            _close(topup_id, Status.FAILED)
        case NotPaid() if age > EXPIRE_AFTER:
            _close(topup_id, Status.EXPIRED)
        case Pending() | GatewayError() if age > REVIEW_AFTER and topup.status in UNFINISHED:
            logger.error("top-up still open after a day", extra={"topup": topup_id, "answer": str(answer)})
            _hand_over(topup_id)
        case GatewayError(detail=detail):
            logger.warning("payment not verified", extra={"topup": topup_id, "detail": detail})
        case NotPaid() | Pending():
            pass  # asked again later


def _credit(topup_id: UUID, *, ref_id: str) -> None:
    """State and journal in one transaction, under the row's lock: the second of two callers finds it done."""
    try:
        with transaction.atomic():
            topup = TopUp.objects.select_for_update(no_key=True).get(pk=topup_id)
            if topup.status in SETTLED:
                return
            topup.status, topup.ref_id, topup.credited_at = Status.CREDITED, ref_id, timezone.now()
            topup.save(update_fields=["status", "ref_id", "credited_at"])
            ledger.post(
                transaction_id=topup.pk,
                kind=JournalEntry.Kind.TOPUP,
                wallet_id=topup.user_id,
                amount_micro=topup.amount_micro,
                counter_account=JournalEntry.Account.GATEWAY,
                further={JournalEntry.Account.VAT: topup.vat_micro},
            )
            invoices.issue(topup=topup)
    except IntegrityError as error:
        if _constraint(error) != "topup_ref_id_once":
            raise
        logger.exception(
            "a payment's reference was credited before", extra={"topup": topup_id, "ref_id": ref_id}
        )
        _hand_over(topup_id)
        return
    logger.info("top-up credited", extra={"topup": topup_id, "amount_micro": topup.amount_micro})
    tiers.recompute(user_id=topup.user_id)


def _close(topup_id: UUID, status: Status) -> None:
    """Ends a top-up without money. One that somebody else brought to an end meanwhile stays as it is."""
    TopUp.objects.filter(pk=topup_id, status__in=UNFINISHED).update(status=status)


def _hand_over(topup_id: UUID) -> None:
    """Leaves a top-up to a human; nothing here touches it again."""
    TopUp.objects.filter(pk=topup_id).exclude(status__in=SETTLED).update(status=Status.REVIEW)


def _constraint(error: IntegrityError) -> str | None:
    return error.__cause__.diag.constraint_name if isinstance(error.__cause__, psycopg.Error) else None


def unfinished() -> list[UUID]:
    """Top-ups that their payer's browser should have brought to an end by now, some of them, in no order.

    No order, so that a few which the gateway cannot tell anything about do not keep the others from being asked.
    """
    now = timezone.now()
    due = (
        Q(status=Status.RETURNED, returned_at__lt=now - ASK_RETURNED_AFTER)
        | Q(status=Status.REDIRECTED, created_at__lt=now - ASK_REDIRECTED_AFTER)
        | Q(status=Status.CREATED, created_at__lt=now - EXPIRE_AFTER)
    )
    found = TopUp.objects.filter(due, status__in=UNFINISHED).order_by("?")
    return list(found.values_list("pk", flat=True)[:RECONCILE_BATCH])


def recent(user_id: int, *, limit: int = 5) -> list[ListedTopUp]:
    """A user's last top-ups, newest first."""
    return [_listed(topup) for topup in TopUp.objects.filter(user_id=user_id)[:limit]]


def get(*, user_id: int, topup_id: UUID) -> ListedTopUp:
    """One top-up of a user. Raises UnknownTopUp."""
    topup = TopUp.objects.filter(pk=topup_id, user_id=user_id).first()
    if topup is None:
        raise UnknownTopUp(topup_id)
    return _listed(topup)


def _listed(topup: TopUp) -> ListedTopUp:
    return ListedTopUp(
        topup_id=topup.pk,
        amount_micro=topup.amount_micro,
        vat_micro=topup.vat_micro,
        payable_micro=topup.payable_micro,
        status=Status(topup.status),
        ref_id=topup.ref_id,
        created_at=topup.created_at,
    )
