"""The only writer of balances: every rule of the money is one of these statements, or of `wallet.ledger.reserving`.

All lock wallets in id order first, so that no two of them can wait for each other. Budgets add no deadlock: each
belongs to one wallet, and is locked only after it. New balances are computed from what was read under the lock and set
together: where a row has changed since the statement began, PostgreSQL checks constraints on what the statement would
make of the row as it was, before it looks at the row as it is.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection, transaction

from wallet.ledger.connection import LedgerConnection
from wallet.ledger.models import JournalEntry

logger = logging.getLogger(__name__)


class UnknownWallet(Exception):
    """There is no such wallet."""


class _NotEnough(Exception):
    """`available_micro`: what there was."""

    def __init__(self, wallet_id: int, *, available_micro: int = 0) -> None:
        super().__init__(wallet_id)
        self.available_micro = available_micro


class NotCovered(_NotEnough):
    """The wallet's available balance does not cover the debit."""


class BudgetReached(_NotEnough):
    """A budget that the debit counts towards does not cover it, though its wallet does.

    `is_shared`: the shared one. It begins anew at `ends_at`; None: never.
    """

    def __init__(
        self,
        wallet_id: int,
        *,
        available_micro: int = 0,
        is_shared: bool = False,
        ends_at: datetime | None = None,
    ) -> None:
        super().__init__(wallet_id, available_micro=available_micro)
        self.is_shared = is_shared
        self.ends_at = ends_at


class WalletFrozen(Exception):
    """A rule of this wallet's money is broken: nothing moves until an admin has looked at it."""


POST = """
WITH locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro, frozen_at FROM wallet_wallet
    WHERE user_id = %(wallet_id)s FOR NO KEY UPDATE
), moved AS (
    UPDATE wallet_wallet w SET posted_micro = locked.posted_micro + %(amount_micro)s, held_micro = locked.held_micro
    FROM locked WHERE w.user_id = locked.user_id AND locked.frozen_at IS NULL
        AND locked.posted_micro - locked.held_micro + %(amount_micro)s >= 0
    RETURNING w.user_id, w.posted_micro
), booked AS (
    INSERT INTO wallet_journalentry
        (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
    SELECT %(transaction_id)s::uuid, %(kind)s, 'wallet', user_id, %(amount_micro)s, posted_micro, now() FROM moved
    UNION ALL
    SELECT %(transaction_id)s::uuid, %(kind)s, leg.account, NULL, leg.amount_micro, NULL, now()
    FROM moved, json_to_recordset(%(system_legs)s::json) AS leg(account text, amount_micro bigint)
)
SELECT (SELECT count(*) FROM locked), (SELECT frozen_at IS NOT NULL FROM locked), (SELECT posted_micro FROM moved)
"""


def post(
    *,
    transaction_id: uuid.UUID,
    kind: JournalEntry.Kind,
    wallet_id: int,
    amount_micro: int,
    counter_account: JournalEntry.Account,
    further: Mapping[JournalEntry.Account, int] | None = None,
) -> int:
    """Books `amount_micro` (positive: credit) on a wallet against `counter_account`; returns the new posted balance.

    `further` are other accounts that get a share, in micro-Rial; `counter_account` takes whatever makes the sum zero.

    Needs an open transaction, so that the cause's own row changes with it. Raises IntegrityError
    (`journal_booked_once`) when this cause was booked before, NotCovered, UnknownWallet, WalletFrozen.
    """
    assert transaction.get_connection().in_atomic_block, "post() belongs into the transaction of its cause"
    assert amount_micro != 0
    shares = {account: share for account, share in (further or {}).items() if share}
    shares[counter_account] = -amount_micro - sum(shares.values())
    with connection.cursor() as cursor:
        cursor.execute(
            POST,
            {
                "transaction_id": transaction_id,
                "kind": str(kind),
                "wallet_id": wallet_id,
                "amount_micro": amount_micro,
                "system_legs": orjson.dumps(
                    [{"account": str(account), "amount_micro": share} for account, share in shares.items()]
                ).decode(),
            },
        )
        found, frozen, balance_micro = cursor.fetchone()
    if not found:
        raise UnknownWallet(wallet_id)
    if frozen:
        raise WalletFrozen(wallet_id)
    if balance_micro is None:
        raise NotCovered(wallet_id)
    return int(balance_micro)


# --- holds, in batches -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settlement:
    """A hold to resolve: `cost_micro` of it is captured (0: void) and `record` goes to the caller's own table.

    Not `budgeted`: it was placed without a budget.
    """

    hold_id: uuid.UUID
    wallet_id: int
    cost_micro: int
    record: dict[str, Any] | None = None
    budgeted: bool = True


@dataclass(frozen=True, slots=True)
class Resolved:
    """Whether a hold was resolved `by_this_call`, and whether its capture is `in_journal`, from this call or before."""

    by_this_call: bool
    in_journal: bool


# A hold that was placed before its budget's present period counts before it, however late it is settled. `greatest`:
# the version before knew no periods, and may have resolved some of those holds.
UNBUDGETED = "AND h.budget_id IS NULL AND h.shared_budget_id IS NULL"
COUNT_BUDGETS = """), counted AS (
    SELECT budget_id, created_at, cost_micro, amount_micro FROM freed WHERE budget_id IS NOT NULL
    UNION ALL
    SELECT shared_budget_id, created_at, cost_micro, amount_micro FROM freed WHERE shared_budget_id IS NOT NULL
), budgets AS MATERIALIZED (
    SELECT * FROM wallet_budget WHERE id = ANY (ARRAY (SELECT budget_id FROM counted)) ORDER BY id FOR NO KEY UPDATE
), budgets_lowered AS (
    UPDATE wallet_budget b SET spent_micro = t.spent_micro + t.cost_micro, held_micro = t.held_micro - t.amount_micro,
        spent_before_micro = t.spent_before_micro + t.cost_before_micro,
        previous_spent_micro = t.previous_spent_micro + t.cost_before_micro,
        held_before_micro = greatest(t.held_before_micro - t.amount_before_micro, 0)
    FROM (
        SELECT l.id, l.spent_micro, l.held_micro, l.spent_before_micro, l.held_before_micro, l.previous_spent_micro,
            sum(c.cost_micro) AS cost_micro, sum(c.amount_micro) AS amount_micro,
            coalesce(sum(c.cost_micro) FILTER (WHERE c.created_at < l.starts_at), 0) AS cost_before_micro,
            coalesce(sum(c.amount_micro) FILTER (WHERE c.created_at < l.starts_at), 0) AS amount_before_micro
        FROM counted c JOIN budgets l ON l.id = c.budget_id GROUP BY 1, 2, 3, 4, 5, 6
    ) t WHERE b.id = t.id
    RETURNING b.id, t.spent_micro - t.spent_before_micro AS was_micro, b.spent_micro - b.spent_before_micro AS is_micro,
        b.limit_micro, coalesce(b.starts_at, b.opened_at) AS starts_at, b.alerts
), marked AS (
    INSERT INTO wallet_budgetmark (budget_id, starts_at, percent, reached_at)
    SELECT id, starts_at, percent, now() FROM budgets_lowered, (VALUES (80), (100)) AS marks (percent)
    WHERE alerts AND limit_micro > 0
        AND was_micro * 100.0 < limit_micro * percent::numeric AND is_micro * 100.0 >= limit_micro * percent::numeric
    ON CONFLICT DO NOTHING
"""

# `{record}` is the INSERT of the caller's own record, reading `settled`; it shares the statement, so that there is
# never a capture without its record. `{which}`: without COUNT_BUDGETS, holds that have budgets are not found.
SETTLE = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS r(n int, id uuid, wallet_id bigint, cost_micro bigint, record json)
), locked AS MATERIALIZED (
    SELECT user_id, posted_micro, held_micro FROM wallet_wallet
    WHERE user_id = ANY (ARRAY (SELECT wallet_id FROM asked)) AND frozen_at IS NULL ORDER BY user_id FOR NO KEY UPDATE
), freed AS (
    DELETE FROM wallet_hold h USING asked a, locked l
    WHERE h.id = a.id AND h.wallet_id = a.wallet_id AND l.user_id = a.wallet_id AND a.cost_micro <= h.amount_micro
        {which}
    RETURNING a.n, h.id, h.wallet_id, h.budget_id, h.shared_budget_id, h.created_at, h.amount_micro, a.cost_micro,
        a.record, l.posted_micro
), settled AS (
    SELECT *, posted_micro - sum(cost_micro) OVER (PARTITION BY wallet_id ORDER BY n) AS balance_micro FROM freed
), lowered AS (
    UPDATE wallet_wallet w SET posted_micro = l.posted_micro - t.cost_micro, held_micro = l.held_micro - t.amount_micro
    FROM (
        SELECT wallet_id, sum(cost_micro) AS cost_micro, sum(amount_micro) AS amount_micro FROM freed GROUP BY wallet_id
    ) t JOIN locked l ON l.user_id = t.wallet_id WHERE w.user_id = t.wallet_id
{budgets}), booked AS (
    INSERT INTO wallet_journalentry
        (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
    (SELECT id, %(kind)s::text, 'wallet', wallet_id, -cost_micro, balance_micro, now()
     FROM settled WHERE cost_micro > 0 ORDER BY n)
    UNION ALL
    SELECT id, %(kind)s::text, 'revenue', NULL, cost_micro, NULL, now() FROM settled WHERE cost_micro > 0
){record}
SELECT a.n, s.n IS NOT DISTINCT FROM a.n, CASE WHEN s.id IS NOT NULL THEN s.cost_micro > 0 ELSE EXISTS (
    SELECT FROM wallet_journalentry j WHERE j.transaction_id = a.id AND j.account = 'wallet') END
FROM asked a LEFT JOIN settled s ON s.id = a.id
"""


def settle_sql(record_sql: str | None = None, *, budgeted: bool = True) -> str:
    """The statement for holds of any kind, or the quicker one for such as have no budget."""
    return (
        SETTLE.replace("{budgets}", COUNT_BUDGETS if budgeted else "")
        .replace("{which}", "" if budgeted else UNBUDGETED)
        .replace("{record}", f", recorded AS ({record_sql})" if record_sql else "")
    )


def _settle_items(items: Sequence[Settlement]) -> dict[str, bytes]:
    return {
        "kind": JournalEntry.Kind.COMPLETION.encode(),
        "items": orjson.dumps(
            [
                {
                    "n": n,
                    "id": item.hold_id,
                    "wallet_id": item.wallet_id,
                    "cost_micro": item.cost_micro,
                    "record": item.record,
                }
                for n, item in enumerate(items)
            ]
        ),
    }


async def settle(connection: LedgerConnection, sql: str, items: Sequence[Settlement]) -> list[Resolved]:
    """Resolves holds, each at most once however often this is called. `sql` comes from `settle_sql`."""
    rows = await connection.ask(sql, _settle_items(items))
    results = [Resolved(by_this_call=False, in_journal=False)] * len(items)
    for n, by_this_call, in_journal in rows:
        results[n] = Resolved(by_this_call, in_journal)
    return results


def freeze(*, wallet_id: int, because: str) -> None:
    """Stops every movement of a wallet's money until an admin lifts it; the first reason stays. Opens a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE wallet_wallet SET frozen_at = now(), frozen_because = %s WHERE user_id = %s AND frozen_at IS NULL",
            [because[:200], wallet_id],
        )
        frozen = cursor.rowcount
    if frozen:
        logger.critical("wallet frozen", extra={"wallet": wallet_id, "because": because})


def unfreeze(*, wallet_id: int) -> None:
    """Lets the money move again, after an admin has found out what was wrong and put it right."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE wallet_wallet SET frozen_at = NULL, frozen_because = '' WHERE user_id = %s", [wallet_id]
        )


def expire(*, limit: int) -> int:
    """Voids up to `limit` holds past their expiry and returns how many. One transaction of its own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT h.id, h.wallet_id FROM wallet_hold h JOIN wallet_wallet w ON w.user_id = h.wallet_id"
            " WHERE h.expires_at < now() AND w.frozen_at IS NULL ORDER BY h.expires_at LIMIT %s",
            [limit],
        )
        found = [Settlement(hold_id, wallet_id, 0) for hold_id, wallet_id in cursor.fetchall()]
        if not found:
            return 0
        cursor.execute(settle_sql(), {name: text.decode() for name, text in _settle_items(found).items()})
        return sum(by_this_call for _n, by_this_call, _in_journal in cursor.fetchall())
