"""Promo codes: each gives its credit to a user once, only as often as it says, and above a limit only after a second
admin has approved it."""

import logging
import math
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import admins
from accounts import approvals as second_admins
from accounts.shared.digits import ascii_digits
from wallet.credits import approvals
from wallet.credits.models import PromoCode, PromoRedemption
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry

logger = logging.getLogger(__name__)

TRIES_PER_HOUR = 10
HOUR = timedelta(hours=1)
# One statement, so that tries at once are each counted. The hour begins with the first try.
COUNT_TRY = """
INSERT INTO wallet_promotries AS t (user_id, since, tries) VALUES (%(user_id)s, %(now)s, 1)
ON CONFLICT (user_id) DO UPDATE SET
    tries = CASE WHEN t.since <= %(hour_ago)s THEN 1 ELSE LEAST(t.tries + 1, 1000) END,
    since = CASE WHEN t.since <= %(hour_ago)s THEN %(now)s ELSE t.since END
RETURNING tries, since
"""


class UnknownCode(Exception):
    """There is no such code, or it is not approved yet."""


class Expired(Exception):
    """The code's time is over."""


class UsedUp(Exception):
    """The code was used as often as it may be."""


class AlreadyRedeemed(Exception):
    """This user has had this code's credit."""


class TooManyTries(Exception):
    """This user has tried too many codes; `wait_seconds` says for how long."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(wait)
        self.wait_seconds = max(1, math.ceil(wait.total_seconds()))


def normalised(typed: str) -> str:
    """A code as it is stored: capitals, ASCII digits, no spaces."""
    return "".join(ascii_digits(typed).split()).upper()


def make(*, promo: PromoCode, admin_id: int) -> None:
    """Stores a code that an admin filled in; worth too much for one admin, it waits. Opens a transaction."""
    with transaction.atomic():
        _ask(promo, admin_id)
        promo.save(force_insert=True)


def change(*, promo: PromoCode, admin_id: int) -> None:
    """Stores a new `max_uses` or `expires_at`. Raising `max_uses` is a new request for approval.

    Opens a transaction.
    """
    changed = ["max_uses", "expires_at"]
    with transaction.atomic():
        stored = PromoCode.objects.select_for_update(no_key=True).get(pk=promo.pk)
        if stored.max_uses is not None and (promo.max_uses is None or promo.max_uses > stored.max_uses):
            _ask(promo, admin_id)
            changed += ["needs_approval", "requested_by", "requested_at", "approved_by"]
        promo.save(update_fields=changed)


def approve(*, promo_code_id: int, admin_id: int) -> None:
    """Approves a waiting code, so that it can be used. Opens a transaction. Raises accounts.approvals' exceptions."""
    with transaction.atomic():
        promo = PromoCode.objects.select_for_update(no_key=True).get(pk=promo_code_id)
        if not promo.waits:
            raise second_admins.AlreadyDecided(promo_code_id)
        second_admins.check(requested_by_id=promo.requested_by_id, admin_id=admin_id)
        promo.approved_by_id = admin_id
        promo.save(update_fields=["approved_by"])
        admins.tell_of_approval(admin_id=admin_id, what=_("the promo code %(code)s"), code=promo.code)
    logger.info("promo code approved", extra={"promo_code": promo_code_id, "approved_by": admin_id})


def redeem(*, user_id: int, typed: str, now: datetime | None = None) -> int:
    """Credits a code to a user's wallet and returns the amount in micro-Rial.

    Counts the try first, which must not be rolled back with the rest, and then opens a transaction. Raises
    TooManyTries, UnknownCode, AlreadyRedeemed, Expired, UsedUp, ledger.UnknownWallet, ledger.WalletFrozen.
    """
    now = now or timezone.now()
    _count_try(user_id, now)
    with transaction.atomic():
        # Under its lock, so that users who redeem it at once never exceed its uses.
        promo = PromoCode.objects.select_for_update(no_key=True).filter(code=normalised(typed)).first()
        if promo is None or promo.waits:
            raise UnknownCode
        if PromoRedemption.objects.filter(promo_code=promo, wallet_id=user_id).exists():
            raise AlreadyRedeemed
        if promo.expires_at <= now:
            raise Expired
        if promo.max_uses is not None and promo.uses >= promo.max_uses:
            raise UsedUp
        PromoCode.objects.filter(pk=promo.pk).update(uses=F("uses") + 1)
        redemption = PromoRedemption.objects.create(
            promo_code=promo, wallet_id=user_id, amount_micro=promo.amount_micro
        )
        writer.post(
            transaction_id=redemption.pk,
            kind=JournalEntry.Kind.PROMO,
            wallet_id=user_id,
            amount_micro=promo.amount_micro,
            counter_account=JournalEntry.Account.GIFT,
        )
    logger.info("promo code redeemed", extra={"promo_code": promo.pk, "user_id": user_id})
    return promo.amount_micro


def _ask(promo: PromoCode, admin_id: int) -> None:
    worth_micro = None if promo.max_uses is None else promo.amount_micro * promo.max_uses
    promo.needs_approval = approvals.needs_second(
        admin_id=admin_id, amount_micro=worth_micro, promo_code_id=promo.pk
    )
    promo.requested_by_id, promo.requested_at, promo.approved_by_id = admin_id, timezone.now(), None


def _count_try(user_id: int, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COUNT_TRY, {"user_id": user_id, "now": now, "hour_ago": now - HOUR})
        tries, since = cursor.fetchone()
    if tries > TRIES_PER_HOUR:
        raise TooManyTries(since + HOUR - now)
