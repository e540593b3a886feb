"""A wallet as the API reads it, over a connection of its event loop: a statement on an index each time."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from django.utils import timezone
from psycopg.rows import dict_row

from wallet.ledger import budgets
from wallet.ledger.budgets import BudgetReport
from wallet.ledger.models import Budget, JournalEntry
from wallet.statements.lines import StatementRow

BALANCE = """
SELECT w.posted_micro, w.held_micro, a.threshold_micro
FROM wallet_wallet w LEFT JOIN wallet_walletalert a ON a.wallet_id = w.user_id WHERE w.user_id = %s
"""
PLACE = """
SELECT id FROM wallet_journalentry WHERE transaction_id = %s AND account = 'wallet' AND wallet_id = %s
"""
LINES = """
SELECT id, created_at, kind, transaction_id, amount_micro, balance_micro
FROM wallet_journalentry WHERE wallet_id = %(wallet_id)s AND {place} ORDER BY id {order} LIMIT %(limit)s
"""


COLUMNS = ", ".join(str(field.column) for field in Budget._meta.concrete_fields)
BUDGET = f"SELECT {COLUMNS} FROM wallet_budget WHERE id = %s AND wallet_id = %s"  # noqa: S608 - the model's own names


class UnknownTransaction(Exception):
    """The wallet has no such transaction."""


@dataclass(frozen=True, slots=True)
class Funds:
    """Amounts in micro-Rial; `threshold_micro`: below which its owner is told (None: never)."""

    posted_micro: int
    held_micro: int
    threshold_micro: int | None

    @property
    def available_micro(self) -> int:
        return self.posted_micro - self.held_micro


async def funds(connection: psycopg.AsyncConnection[Any], *, wallet_id: int) -> Funds:
    """Nothing where there is no such wallet."""
    cursor = await connection.execute(BALANCE, [wallet_id])
    row = await cursor.fetchone()
    return Funds(*row) if row else Funds(0, 0, None)


async def budget(
    connection: psycopg.AsyncConnection[Any], *, wallet_id: int, budget_id: int | None
) -> BudgetReport | None:
    """How far a budget of a wallet is spent; None where there is none."""
    if budget_id is None:
        return None
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(BUDGET, [budget_id, wallet_id])
        row = await cursor.fetchone()
    return budgets.report(Budget(**row), now=timezone.now()) if row else None


async def lines(
    connection: psycopg.AsyncConnection[Any],
    *,
    wallet_id: int,
    after: UUID | None,
    oldest_first: bool,
    limit: int,
) -> list[StatementRow]:
    """Lines of a statement behind a transaction of it. Raises UnknownTransaction.

    An entry gets its number under its wallet's lock, so what comes later stands behind what was read.
    """
    place = None
    if after is not None:
        cursor = await connection.execute(PLACE, [after, wallet_id])
        row = await cursor.fetchone()
        if row is None:
            raise UnknownTransaction(after)
        [place] = row
    query = LINES.format(
        place="TRUE" if place is None else "id > %(place)s" if oldest_first else "id < %(place)s",
        order="ASC" if oldest_first else "DESC",
    )
    cursor = await connection.execute(query, {"wallet_id": wallet_id, "place": place, "limit": limit})
    return [
        StatementRow(entry_id, created_at, JournalEntry.Kind(kind), *rest)
        async for entry_id, created_at, kind, *rest in cursor
    ]
