"""Money that comes in: created → redirected → returned → verifying → credited, failed, expired or review.

What the payer's browser says proves nothing: a top-up is credited when the gateway, asked server to server about
the authority and the amount in our own row, says that it was paid. A top-up that failed or expired is asked about
again when its payer comes back, so that a late payment is credited too.

Whoever asks the gateway claims the top-up first (verifying), so that the gateway is asked once at a time. What
keeps money right is not the claim but the row's lock when it is credited: a claim can outlive its owner.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.db.models import Case, Sum, Value, When
from django.utils import timezone
from prometheus_client import Counter

from accounts.models import User
from wallet import signals, tiers
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman
from wallet.payments import gateways, invoices, vat
from wallet.payments.gateways.interface import (
    AmountDiffers,
    GatewayError,
    NotPaid,
    PaymentGateway,
    PaymentRequest,
    Pending,
    Verified,
)
from wallet.payments.models import TopUp

logger = logging.getLogger(__name__)

CREDITED = Counter("hamiran_topups_credited", "Payments that were credited", ["gateway"])
CREDITED_MICRO = Counter(
    "hamiran_topups_credited_micro", "What they brought wallets, micro-Rial", ["gateway"]
)
FAULTS = Counter(
    "hamiran_topup_faults", "Payments that a gateway could not start or tell of", ["gateway", "what"]
)

Status = TopUp.Status
UNFINISHED = (Status.CREATED, Status.REDIRECTED, Status.RETURNED, Status.VERIFYING)
SETTLED = (Status.CREDITED, Status.REVIEW)
# Longer than an adapter can take over two calls: a claim that is older has lost its owner.
CLAIM_LASTS = timedelta(seconds=90)
EXPIRE_AFTER = timedelta(minutes=30)
GIVE_UP_AFTER = timedelta(days=1)
STARTS_COUNT_FOR = timedelta(hours=1)


class AmountOutOfRange(Exception):
    """Less than the smallest or more than the largest top-up that the settings allow."""


class DailyLimitReached(Exception):
    """More than the user may pay in today; `remaining_micro` is what today still allows."""

    def __init__(self, remaining_micro: int) -> None:
        super().__init__(remaining_micro)
        self.remaining_micro = remaining_micro


class TooManyStarted(Exception):
    """Too many payments were started in the last hour and not completed; from `retry_at` on there is room for one."""

    def __init__(self, retry_at: datetime) -> None:
        super().__init__(retry_at)
        self.retry_at = retry_at


class PaymentsNotConfigured(Exception):
    """This installation takes no payments."""


class GatewayUnavailable(Exception):
    """The gateway would not start the payment; nothing was paid."""


class NoWallet(Exception):
    """The user has no wallet to credit."""


class UnknownTopUp(Exception):
    """There is no such top-up, or it belongs to another user."""


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
    return vat.quote(net_micro=amount_micro, day=timezone.localdate(timezone=timezone.get_default_timezone()))


def start(*, user_id: int, amount_micro: int, callback_url: Callable[[UUID], str]) -> str:
    """Fixes the amounts in a row of ours, starts the payment and returns where the payer has to go.

    `amount_micro` is for the wallet; VAT comes on top (`quote`). Calls the gateway, so it belongs outside
    transactions. Raises AmountOutOfRange, DailyLimitReached, TooManyStarted, PaymentsNotConfigured, NoWallet,
    GatewayUnavailable.
    """
    gateway = gateways.configured()
    if gateway is None:
        raise PaymentsNotConfigured
    topup = _create(user_id=user_id, gateway=gateway.name, price=quote(amount_micro=amount_micro))
    mobile = User.objects.values_list("mobile", flat=True).get(pk=user_id)
    started = gateway.start(
        PaymentRequest(
            topup_id=topup.pk,
            amount_micro=topup.payable_micro,
            mobile=mobile,
            callback_url=callback_url(topup.pk),
        )
    )
    if isinstance(started, GatewayError):
        FAULTS.labels(topup.gateway, "not started").inc()
        logger.warning("payment not started", extra={"topup": topup.pk, "detail": started.detail})
        TopUp.objects.filter(pk=topup.pk).update(status=Status.FAILED)
        raise GatewayUnavailable
    TopUp.objects.filter(pk=topup.pk).update(status=Status.REDIRECTED, authority=started.authority)
    return started.redirect_url


def _create(*, user_id: int, gateway: str, price: vat.Quote) -> TopUp:
    """The row with the amounts, if the day still has room for it. Opens a transaction."""
    with transaction.atomic():
        # Under the wallet's lock, so that two of them cannot both take the last of the day.
        if not Wallet.objects.select_for_update(no_key=True).filter(pk=user_id).exists():
            raise NoWallet(user_id)
        _refuse_too_many(user_id)
        remaining_micro = remaining_today_micro(user_id)
        if price.net_micro > remaining_micro:
            raise DailyLimitReached(remaining_micro)
        return TopUp.objects.create(
            user_id=user_id,
            gateway=gateway,
            amount_micro=price.net_micro,
            vat_micro=price.vat_micro,
            vat_basis_points=price.basis_points,
        )


def _refuse_too_many(user_id: int) -> None:
    """Each start costs a call to the gateway, which is asked about unfinished ones for a day."""
    max_starts = settings.TOPUP_STARTS_PER_HOUR
    since = timezone.now() - STARTS_COUNT_FOR
    started = TopUp.objects.filter(user_id=user_id, created_at__gt=since).exclude(status=Status.CREDITED)
    newest = started.order_by("-created_at").values_list("created_at", flat=True)[:max_starts]
    if len(newest) == max_starts:
        raise TooManyStarted(newest[max_starts - 1] + STARTS_COUNT_FOR)


def remaining_today_micro(user_id: int) -> int:
    """How much more a user may start to pay today in Tehran. Counts what was credited, and what still may be."""
    midnight = timezone.localtime(timezone=timezone.get_default_timezone()).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    taken = TopUp.objects.filter(
        user_id=user_id, created_at__gte=midnight, status__in=UNFINISHED + SETTLED
    ).aggregate(total=Sum("amount_micro"))["total"]
    return max(micro_from_toman(settings.TOPUP_DAILY_MAX_TOMAN) - int(taken or 0), 0)


def come_back(*, topup_id: UUID, query: Mapping[str, str]) -> None:
    """The payer's browser is back with a query of the gateway's: notes that and asks the gateway. Repeats are harmless.

    A query that names another payment changes nothing. Calls the gateway, so it belongs outside transactions.
    Raises UnknownTopUp.
    """
    topup = TopUp.objects.filter(pk=topup_id).first()
    if topup is None:
        raise UnknownTopUp(topup_id)
    gateway = _gateway(topup)
    named = gateway.returned_authority(query) if gateway else None
    if named is None or named != topup.authority:
        logger.warning("a return that names another payment", extra={"topup": topup_id})
        return
    TopUp.objects.filter(pk=topup_id, returned_at=None).update(returned_at=timezone.now())
    TopUp.objects.filter(pk=topup_id, status=Status.REDIRECTED).update(status=Status.RETURNED)
    settle(topup_id=topup_id)


def check(*, user_id: int, topup_id: UUID) -> None:
    """Asks the gateway about one's own top-up without claiming to be back from it. Raises UnknownTopUp."""
    get(user_id=user_id, topup_id=topup_id)
    settle(topup_id=topup_id)


def settle(*, topup_id: UUID) -> None:
    """Asks the gateway about a top-up and does what its answer says: credit, fail, expire, review, or wait.

    Verifies outside any transaction, then changes state and journal in one. Safe to repeat and to run in parallel;
    dying anywhere in between leaves work for a later call. Raises UnknownTopUp.
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
            TopUp.objects.filter(pk=topup_id, status=Status.CREATED).update(status=Status.EXPIRED)
        return
    gateway = _gateway(topup)
    claim = _claim(topup) if gateway else None
    if gateway is None or claim is None:
        return
    answer = gateway.verify(authority=topup.authority, amount_micro=topup.payable_micro)
    match answer:
        case Verified():
            _credit_or_wait(topup_id, claim, answer)
        case AmountDiffers():
            logger.error("top-up amount differs", extra={"topup": topup_id, "detail": answer.detail})
            _hand_over(topup_id)
        case NotPaid() if topup.returned_at:
            _release(topup_id, claim, Status.FAILED)
        case NotPaid() if age > EXPIRE_AFTER:
            _release(topup_id, claim, Status.EXPIRED)
        case Pending() if age > GIVE_UP_AFTER:
            _release(topup_id, claim, Status.EXPIRED)  # its payer left the bank's page open and went away
        case GatewayError():
            _wait_for_answer(topup, claim, answer, gives_up=age > GIVE_UP_AFTER)
        case NotPaid() | Pending():
            _release(topup_id, claim)


def ask_again(*, topup_id: UUID) -> None:
    """Takes a top-up back from review and asks its gateway once more: credit, fail, or review again."""
    reviewed = TopUp.objects.filter(pk=topup_id, status=Status.REVIEW)
    if reviewed.update(status=Status.RETURNED, claimed_at=None):
        settle(topup_id=topup_id)


def _credit_or_wait(topup_id: UUID, claim: datetime, paid: Verified) -> None:
    try:
        _credit(topup_id, paid)
    except writer.WalletFrozen:
        # Paid, and not lost: it is asked about again until an admin has lifted the freeze.
        logger.warning("paid top-up waits for a frozen wallet", extra={"topup": topup_id})
        _release(topup_id, claim)


def _gateway(topup: TopUp) -> PaymentGateway | None:
    """The gateway that a top-up was started with; None, loudly, once an operator has taken it out of the settings."""
    try:
        return gateways.named(topup.gateway)
    except ImproperlyConfigured:
        logger.exception("a top-up's gateway is not set up any more", extra={"topup": topup.pk})
        return None


def _wait_for_answer(topup: TopUp, claim: datetime, error: GatewayError, *, gives_up: bool) -> None:
    """Asks again later; after a day it is for a human, if nothing was known before."""
    details = {"topup": topup.pk, "detail": error.detail}
    FAULTS.labels(topup.gateway, "not verified").inc()
    logger.warning("payment not verified", extra=details)
    if not gives_up:
        _release(topup.pk, claim)
    elif topup.status in UNFINISHED:
        logger.error("top-up still open after a day", extra=details)
        _hand_over(topup.pk)
    else:
        _release(topup.pk, claim, Status(topup.status))


def _claim(topup: TopUp) -> datetime | None:
    """Claims the top-up, as it was read, to ask about it; None if another process has, or had, claimed it meanwhile."""
    now = timezone.now()
    if topup.status == Status.VERIFYING and topup.claimed_at and topup.claimed_at > now - CLAIM_LASTS:
        return None
    as_read = TopUp.objects.filter(pk=topup.pk, status=topup.status, claimed_at=topup.claimed_at)
    return now if as_read.update(status=Status.VERIFYING, claimed_at=now) else None


def _release(topup_id: UUID, claim: datetime, status: Status | None = None) -> None:
    """Ends a claim without money: with `status`, or to be asked again. One that lost its claim changes nothing."""
    asked_again = Case(
        When(returned_at__isnull=False, then=Value(Status.RETURNED)), default=Value(Status.REDIRECTED)
    )
    claimed = TopUp.objects.filter(pk=topup_id, status=Status.VERIFYING, claimed_at=claim)
    claimed.update(status=status or asked_again)


def _credit(topup_id: UUID, paid: Verified) -> None:
    """Writes state and journal in one transaction, under the row's lock: of two callers, the second finds it done."""
    try:
        with transaction.atomic():
            topup = TopUp.objects.select_for_update(no_key=True).get(pk=topup_id)
            if topup.status in SETTLED:
                return
            topup.status, topup.credited_at = Status.CREDITED, timezone.now()
            topup.ref_id, topup.card_pan = paid.ref_id, paid.card_pan
            topup.save(update_fields=["status", "credited_at", "ref_id", "card_pan"])
            # The invoice first: while this waits for a number, it must not hold a wallet that requests wait for.
            invoices.issue(topup=topup)
            writer.post(
                transaction_id=topup.pk,
                kind=JournalEntry.Kind.TOPUP,
                wallet_id=topup.user_id,
                amount_micro=topup.amount_micro,
                counter_account=JournalEntry.Account.GATEWAY,
                further={JournalEntry.Account.VAT: topup.vat_micro},
            )
            signals.topup_credited(user_id=topup.user_id, topup_id=topup.pk, amount_micro=topup.amount_micro)
    except IntegrityError as error:
        if _constraint(error) != "topup_ref_id_once":
            raise
        logger.exception(
            "a payment's reference was credited before", extra={"topup": topup_id, "ref_id": paid.ref_id}
        )
        _hand_over(topup_id)
        return
    CREDITED.labels(topup.gateway).inc()
    CREDITED_MICRO.labels(topup.gateway).inc(topup.amount_micro)
    logger.info("top-up credited", extra={"topup": topup_id, "amount_micro": topup.amount_micro})
    tiers.recompute(user_id=topup.user_id)


def _hand_over(topup_id: UUID) -> None:
    """Leaves a top-up to a human; nothing here touches it again."""
    TopUp.objects.filter(pk=topup_id).exclude(status__in=SETTLED).update(status=Status.REVIEW)


def _constraint(error: IntegrityError) -> str | None:
    return error.__cause__.diag.constraint_name if isinstance(error.__cause__, psycopg.Error) else None


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
