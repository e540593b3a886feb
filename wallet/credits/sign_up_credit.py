"""Credit that new accounts begin with: how much a tier gives, with a second admin above a limit, and how much all of
them together are given in a day."""

import logging

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import admins, approvals
from accounts.models import Tier
from wallet.credits import gifts
from wallet.credits.models import SignUpCreditChange, SignUpCreditDay
from wallet.money import micro_from_toman
from wallet.wording import toman_in_sms

logger = logging.getLogger(__name__)

State = SignUpCreditChange.State
COUNT = """
UPDATE wallet_signupcreditday SET given_micro = given_micro + %(amount)s
WHERE day = %(day)s AND given_micro + %(amount)s <= %(ceiling)s
RETURNING given_micro
"""
COUNT_REFUSED = (
    "UPDATE wallet_signupcreditday SET refused = refused + 1 WHERE day = %(day)s RETURNING refused"
)


class AlreadyWaiting(Exception):
    """A change of this tier's credit is waiting already."""


def needs_second(*, tier: Tier, amount_micro: int) -> bool:
    """Whether an admin cannot set this alone: it is more than the tier gives, and than the limit."""
    limit_micro = micro_from_toman(settings.SIGN_UP_CREDIT_MAX_TOMAN)
    return amount_micro > max(limit_micro, tier.sign_up_credit_micro if tier.pk else 0)


def is_waiting(tier: Tier) -> bool:
    return bool(tier.pk and SignUpCreditChange.objects.filter(tier_id=tier.pk, state=State.PENDING).exists())


def request(*, tier: Tier, amount_micro: int, admin_id: int) -> None:
    """Stores a new credit of a tier, which waits for a second admin. Opens a transaction. Raises AlreadyWaiting."""
    with transaction.atomic():
        Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        if is_waiting(tier):
            raise AlreadyWaiting(tier.pk)
        SignUpCreditChange.objects.create(tier=tier, amount_micro=amount_micro, requested_by_id=admin_id)


def approve(*, change_id: int, admin_id: int) -> None:
    """Approves a waiting credit, which holds from then on. Opens a transaction.

    Raises approvals' exceptions; then nothing changes.
    """
    with transaction.atomic():
        change = _waiting(change_id)
        approvals.check(requested_by_id=change.requested_by_id, admin_id=admin_id)
        tier = Tier.objects.select_for_update(no_key=True).get(pk=change.tier_id)
        tier.sign_up_credit_micro = change.amount_micro
        tier.save(update_fields=["sign_up_credit_micro"])
        change.state, change.decided_at, change.approved_by_id = State.DONE, timezone.now(), admin_id
        change.save(update_fields=["state", "decided_at", "approved_by"])
        admins.tell_of_approval(
            admin_id=admin_id,
            what=_("a sign-up credit of %(amount)s Toman"),
            amount=toman_in_sms(change.amount_micro),
        )


def reject(*, change_id: int) -> None:
    """Closes a change that waits. Opens a transaction. Raises approvals.AlreadyDecided."""
    with transaction.atomic():
        change = _waiting(change_id)
        change.state, change.decided_at = State.REJECTED, timezone.now()
        change.save(update_fields=["state", "decided_at"])


def give(*, wallet_id: int, amount_micro: int) -> bool:
    """Credits a new wallet; False where that would lead beyond the day's ceiling, which the operator is told of.

    Needs an open transaction; others that open accounts wait for its end.
    """
    day = timezone.localdate()
    ceiling_micro = micro_from_toman(settings.SIGN_UP_CREDIT_DAILY_MAX_TOMAN)
    SignUpCreditDay.objects.bulk_create([SignUpCreditDay(day=day)], ignore_conflicts=True)
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"day": day, "amount": amount_micro, "ceiling": ceiling_micro})
        if cursor.fetchone() is not None:
            gifts.give_sign_up_credit(wallet_id=wallet_id, amount_micro=amount_micro)
            return True
        cursor.execute(COUNT_REFUSED, {"day": day})
        [refused] = cursor.fetchone()
    logger.error(
        "sign_up_credit_used_up",
        extra={"user_id": wallet_id, "ceiling_toman": settings.SIGN_UP_CREDIT_DAILY_MAX_TOMAN},
    )
    if refused == 1:
        admins.tell(
            _(
                "Hamiran: today's sign-up credit of %(amount)s Toman is used up. New accounts open without it."
            ),
            amount=toman_in_sms(ceiling_micro),
        )
    return False


def _waiting(change_id: int) -> SignUpCreditChange:
    """The row under its lock, so that of two decisions at once the second finds the first."""
    change = SignUpCreditChange.objects.select_for_update(no_key=True).get(pk=change_id)
    if change.state != State.PENDING:
        raise approvals.AlreadyDecided(change_id)
    return change
