"""The only writer of balances: every rule of the money is one of these statements.

All lock wallets in id order first, so that no two of them can wait for each other.
"""

import uuid

from django.db import connection, transaction

from wallet.models import JournalEntry


class UnknownWallet(Exception):
    """There is no such wallet."""


class NotCovered(Exception):
    """The wallet's available balance does not cover the debit."""


POST = """
WITH locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro FROM wallet_wallet WHERE user_id = %(wallet_id)s FOR NO KEY UPDATE
), moved AS (
    UPDATE wallet_wallet w SET posted_micro = w.posted_micro + %(amount_micro)s
    FROM locked WHERE w.user_id = locked.user_id AND locked.posted_micro - locked.held_micro + %(amount_micro)s >= 0
    RETURNING w.user_id, w.posted_micro
), booked AS (
    INSERT INTO wallet_journalentry
        (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
    SELECT %(transaction_id)s::uuid, %(kind)s, 'wallet', user_id, %(amount_micro)s, posted_micro, now() FROM moved
    UNION ALL
    SELECT %(transaction_id)s::uuid, %(kind)s, %(counter_account)s, NULL, -%(amount_micro)s, NULL, now() FROM moved
)
SELECT (SELECT count(*) FROM locked), (SELECT posted_micro FROM moved)
"""


def post(
    *,
    transaction_id: uuid.UUID,
    kind: JournalEntry.Kind,
    wallet_id: int,
    amount_micro: int,
    counter_account: JournalEntry.Account,
) -> int:
    """Books `amount_micro` (positive: credit) on a wallet against `counter_account`; returns the new posted balance.

    Needs an open transaction, so that the cause's own row changes with it. Raises IntegrityError
    (`journal_booked_once`) when this cause was booked before, NotCovered, UnknownWallet.
    """
    assert transaction.get_connection().in_atomic_block, "post() belongs into the transaction of its cause"
    assert amount_micro != 0
    with connection.cursor() as cursor:
        cursor.execute(
            POST,
            {
                "transaction_id": transaction_id,
                "kind": str(kind),
                "wallet_id": wallet_id,
                "amount_micro": amount_micro,
                "counter_account": str(counter_account),
            },
        )
        found, balance_micro = cursor.fetchone()
    if not found:
        raise UnknownWallet(wallet_id)
    if balance_micro is None:
        raise NotCovered(wallet_id)
    return int(balance_micro)
