"""Money that comes in without a payment: sign-up credit and credit that the operator gives."""

import uuid

from wallet.ledger import writer
from wallet.ledger.models import JournalEntry


def give(*, wallet_id: int, amount_micro: int) -> int:
    """Credits a wallet at the operator's expense and returns its new posted balance. Needs an open transaction."""
    return writer.post(
        transaction_id=uuid.uuid4(),
        kind=JournalEntry.Kind.OPERATOR_CREDIT,
        wallet_id=wallet_id,
        amount_micro=amount_micro,
        counter_account=JournalEntry.Account.GIFT,
    )


def give_sign_up_credit(*, wallet_id: int, amount_micro: int) -> int:
    """Likewise, booked as sign-up credit."""
    return writer.post(
        # At most once per wallet, whatever happens.
        transaction_id=uuid.uuid5(uuid.NAMESPACE_OID, f"hamiran:sign-up:{wallet_id}"),
        kind=JournalEntry.Kind.SIGN_UP_CREDIT,
        wallet_id=wallet_id,
        amount_micro=amount_micro,
        counter_account=JournalEntry.Account.GIFT,
    )
