"""What a wallet holds at one moment, as figures for people and for other apps."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from wallet.ledger.models import JournalEntry, Wallet

REPORT = """
SELECT posted_micro, held_micro, posted_micro - held_micro,
       (SELECT count(*) FROM wallet_hold h WHERE h.wallet_id = w.user_id),
       (SELECT count(*) FROM wallet_journalentry j WHERE j.wallet_id = w.user_id)
FROM wallet_wallet w WHERE w.user_id = %s
"""


class UnknownWallet(Exception):
    """The user has no wallet."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts in micro-Rial."""

    posted_micro: int
    held_micro: int
    available_micro: int


@dataclass(frozen=True, slots=True)
class WalletReport:
    """Amounts in micro-Rial; `journal_entries` counts this wallet's own legs."""

    posted_micro: int
    held_micro: int
    available_micro: int
    open_holds: int
    journal_entries: int


@dataclass(frozen=True, slots=True)
class Booking:
    """What one transaction did to a wallet, in micro-Rial: the amount (below zero: debited), the balance after it."""

    amount_micro: int
    balance_micro: int | None


def booking(*, user_id: int, transaction_id: UUID) -> Booking | None:
    """A transaction's entry in a user's wallet; None: it moved nothing there."""
    entries = JournalEntry.objects.filter(
        transaction_id=transaction_id, account=JournalEntry.Account.WALLET, wallet_id=user_id
    )
    found = entries.values_list("amount_micro", "balance_micro").first()
    return Booking(*found) if found else None


def balance(*, user_id: int) -> Balance:
    """What a user has, read and not summed: cheap however long the history. Raises UnknownWallet."""
    wallet = Wallet.objects.filter(pk=user_id).first()
    if wallet is None:
        raise UnknownWallet(user_id)
    return Balance(wallet.posted_micro, wallet.held_micro, wallet.available_micro)


def wallet_report(*, user_id: int) -> WalletReport:
    """A user's wallet, read in one statement and so from one moment. Raises UnknownWallet."""
    with connection.cursor() as cursor:
        cursor.execute(REPORT, [user_id])
        row = cursor.fetchone()
    if row is None:
        raise UnknownWallet(user_id)
    return WalletReport(*row)
