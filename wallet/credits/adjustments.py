"""Refunds, corrections and gifts by admins: asked for with a reason, approved by a second admin above a limit, booked
once under their own id."""

import logging
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import admins
from accounts import approvals as second_admins
from wallet.credits import approvals
from wallet.credits.models import Adjustment
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry
from wallet.wording import toman_in_sms

logger = logging.getLogger(__name__)

State = Adjustment.State
ACCOUNTS = {
    Adjustment.Kind.REFUND: JournalEntry.Account.REFUND,
    Adjustment.Kind.CORRECTION: JournalEntry.Account.CORRECTION,
    Adjustment.Kind.GIFT: JournalEntry.Account.GIFT,
}


def request(*, adjustment: Adjustment) -> None:
    """Stores an adjustment that an admin filled in, and books it at once where no second admin is needed.

    Opens a transaction. Raises ledger.NotCovered for a debit beyond what is available, ledger.WalletFrozen; then
    nothing is stored.
    """
    with transaction.atomic():
        adjustment.needs_approval = approvals.needs_second(
            admin_id=adjustment.requested_by_id, amount_micro=adjustment.amount_micro
        )
        adjustment.save(force_insert=True)
        if not adjustment.needs_approval:
            _book(adjustment, approved_by_id=None)


def approve(*, adjustment_id: UUID, admin_id: int) -> None:
    """Books an adjustment that waits. Opens a transaction.

    Raises accounts.approvals' exceptions, ledger.NotCovered, ledger.WalletFrozen; then it stays as it was.
    """
    with transaction.atomic():
        adjustment = _waiting(adjustment_id)
        second_admins.check(requested_by_id=adjustment.requested_by_id, admin_id=admin_id)
        _book(adjustment, approved_by_id=admin_id)
        admins.tell_of_approval(
            admin_id=admin_id,
            what=_("an adjustment of %(amount)s Toman"),
            amount=toman_in_sms(adjustment.amount_micro),
        )


def reject(*, adjustment_id: UUID) -> None:
    """Closes an adjustment that waits, without booking it. Opens a transaction. Raises AlreadyDecided."""
    with transaction.atomic():
        adjustment = _waiting(adjustment_id)
        adjustment.state, adjustment.decided_at = State.REJECTED, timezone.now()
        adjustment.save(update_fields=["state", "decided_at"])


def _waiting(adjustment_id: UUID) -> Adjustment:
    """The row under its lock, so that of two decisions at once the second finds the first."""
    adjustment = Adjustment.objects.select_for_update(no_key=True).get(pk=adjustment_id)
    if adjustment.state != State.PENDING:
        raise second_admins.AlreadyDecided(adjustment_id)
    return adjustment


def _book(adjustment: Adjustment, *, approved_by_id: int | None) -> None:
    adjustment.state, adjustment.decided_at = State.BOOKED, timezone.now()
    adjustment.approved_by_id = approved_by_id
    adjustment.save(update_fields=["state", "decided_at", "approved_by"])
    kind = Adjustment.Kind(adjustment.kind)
    writer.post(
        transaction_id=adjustment.pk,
        kind=JournalEntry.Kind(kind.value),
        wallet_id=adjustment.wallet_id,
        amount_micro=adjustment.amount_micro,
        counter_account=ACCOUNTS[kind],
    )
    logger.info(
        "adjustment booked",
        extra={
            "adjustment": adjustment.pk,
            "user_id": adjustment.wallet_id,
            "kind": kind.value,
            "amount_micro": adjustment.amount_micro,
            "requested_by": adjustment.requested_by_id,
            "approved_by": approved_by_id,
        },
    )
