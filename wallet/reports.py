"""What a wallet holds at one moment, as figures for people and for other apps."""

from dataclasses import dataclass

from django.db import connection

from wallet.models import Wallet

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


def balance(*, user_id: int) -> Balance:
    """What a user has, without counting anything: cheap however long the history. Raises UnknownWallet."""
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
