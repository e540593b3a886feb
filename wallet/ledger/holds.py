"""Holds of running requests: placed before a byte goes upstream, resolved exactly once.

`Holds` is the web process's door to the ledger, one instance a process; `sweep_expired` is for Celery.
"""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg
from django.db import connection

from wallet.ledger import reserving, writer
from wallet.ledger.connection import LedgerConnection
from wallet.ledger.group_commit import GroupCommit, LedgerUnavailable
from wallet.ledger.reserving import Authorisation, Extension, Granted, Remaining, Turn

__all__ = [
    "BudgetReached",
    "HoldGone",
    "Holds",
    "LedgerUnavailable",
    "NotCovered",
    "WalletFrozen",
    "sweep_expired",
]

logger = logging.getLogger(__name__)

BudgetReached = writer.BudgetReached
NotCovered = writer.NotCovered
WalletFrozen = writer.WalletFrozen
SWEEP_BATCH = 500
SETTLEMENT_LATE_SECONDS = 3.0
SWEEP_LATE_SECONDS = 120  # an expired hold that is still there after so long is one that nobody sweeps
VOID_AGAIN_SECONDS = 30  # longer than a statement may take
LEDGER_TABLES = frozenset({"wallet_wallet", "wallet_hold", "wallet_journalentry", "wallet_budget"})


class HoldGone(Exception):
    """The hold has expired: nothing can be captured any more."""


class Holds:
    """Group commits of one web process: one connection that places holds, one that settles them.

    `record_sql` is an `INSERT … SELECT … FROM settled`; `settled` has `id`, `wallet_id`, `cost_micro`,
    `record` (the JSON given to `settle`).
    """

    def __init__(self, *, conninfo: str, record_sql: str | None = None) -> None:
        self._reserve: GroupCommit[Authorisation | Extension | Turn, Granted] = GroupCommit(
            name="authorise", conninfo=conninfo, statement=reserving.reserve, keeps_trying=False
        )
        self._settle: GroupCommit[writer.Settlement, writer.Resolved] = GroupCommit(
            name="settle",
            conninfo=conninfo,
            statement=partial(
                _settle, writer.settle_sql(record_sql), writer.settle_sql(record_sql, budgeted=False)
            ),
            keeps_trying=True,
        )

    def start(self) -> None:
        self._reserve.start()
        self._settle.start()

    async def close(self, *, timeout_seconds: float) -> None:
        """Carries out what waits, then closes the connections."""
        await self._reserve.close(timeout_seconds=timeout_seconds)
        await self._settle.close(timeout_seconds=timeout_seconds)

    @property
    def settlements_are_late(self) -> bool:
        """Whether what was served cannot be written down in time: the database is away, stalled or full."""
        return self._settle.oldest_seconds > SETTLEMENT_LATE_SECONDS

    async def place(
        self,
        *,
        hold_id: uuid.UUID,
        wallet_id: int,
        amount_micro: int,
        minimum_micro: int,
        seconds: int,
        budget_id: int | None = None,
        shared_budget_id: int | None = None,
    ) -> int:
        """Holds `amount_micro`, or all that remains if that is at least `minimum_micro`; returns what is held.

        Its budgets have to cover the hold too; what is captured of the hold then counts as spent of the periods that
        they are in now.

        Durable on return. Raises NotCovered; BudgetReached; WalletFrozen; LedgerUnavailable, after which no hold
        stays open: also while settlements are late, so that no more is served than can be written down.
        """
        assert 0 <= minimum_micro <= amount_micro
        self._refuse_while_late()
        authorisation = Authorisation(
            hold_id, wallet_id, amount_micro, minimum_micro, seconds, budget_id, shared_budget_id
        )
        while True:
            try:
                granted = await self._reserve.submit(
                    authorisation, on_abandoned=lambda: self._void(authorisation)
                )
            except LedgerUnavailable as error:
                if error.in_doubt:  # its reply may be what was lost, or its statement may still be under way
                    self._void(authorisation)
                    asyncio.get_running_loop().call_later(VOID_AGAIN_SECONDS, self._void, authorisation)
                raise
            if granted.amount_micro is not None:
                return granted.amount_micro
            if granted.turns:
                await asyncio.gather(*(self._reserve.submit(turn) for turn in granted.turns))
            else:
                _raise_for(granted, minimum_micro, wallet_id)

    async def extend(
        self,
        *,
        hold_id: uuid.UUID,
        wallet_id: int,
        held_micro: int,
        amount_micro: int,
        minimum_micro: int,
        seconds: int,
        budgeted: bool = True,
    ) -> int:
        """Raises a hold of `held_micro` to `amount_micro`, or as far as the money goes if that is to `minimum_micro`.

        It then expires in so many seconds. `budgeted`: whether it was placed with a budget.

        Returns what is held then, durably. One at a time for a hold. Raises NotCovered; BudgetReached; WalletFrozen;
        HoldGone; LedgerUnavailable, after which the hold may be raised: whoever settles it knows of no more.
        """
        assert held_micro <= minimum_micro <= amount_micro
        self._refuse_while_late()
        while True:
            granted = await self._reserve.submit(
                Extension(hold_id, wallet_id, amount_micro, minimum_micro, seconds, budgeted)
            )
            if granted.amount_micro is not None:
                return granted.amount_micro
            if granted.is_gone:
                raise HoldGone(hold_id)
            _raise_for(granted, minimum_micro - held_micro, wallet_id)

    async def renew(self, *, hold_id: uuid.UUID, wallet_id: int, seconds: int, budgeted: bool = True) -> None:
        """Puts a hold's expiry off to so many seconds from now. Raises HoldGone, LedgerUnavailable."""
        while True:
            granted = await self._reserve.submit(Extension(hold_id, wallet_id, 0, 0, seconds, budgeted))
            if granted.is_gone:
                raise HoldGone(hold_id)
            if granted.amount_micro is not None:
                return

    def _refuse_while_late(self) -> None:
        if self.settlements_are_late:
            raise LedgerUnavailable("settlements are late")

    def _void(self, authorisation: Authorisation) -> None:
        self._settle.submit_later(writer.Settlement(authorisation.hold_id, authorisation.wallet_id, 0))

    async def settle(
        self,
        *,
        hold_id: uuid.UUID,
        wallet_id: int,
        cost_micro: int,
        record: dict[str, Any] | None = None,
        budgeted: bool = True,
    ) -> None:
        """Captures `cost_micro` of a hold (0: voids it) and writes its record. Durable on return.

        `budgeted`: whether it was placed with a budget.

        Repeats do nothing. Raises HoldGone where it had expired and nothing was captured; LedgerUnavailable.
        """
        try:
            resolved = await self._settle.submit(
                writer.Settlement(hold_id, wallet_id, cost_micro, record, budgeted)
            )
        except psycopg.IntegrityError as error:
            if error.diag.table_name in LEDGER_TABLES:
                # The books contradict this movement. Nothing is guessed: no money of this wallet moves any more.
                await asyncio.to_thread(
                    _freeze, wallet_id, f"settlement refused: {error.diag.constraint_name}"
                )
            raise
        if cost_micro and not resolved.in_journal:
            logger.error("hold gone before its capture", extra={"hold": hold_id, "cost_micro": cost_micro})
            raise HoldGone(hold_id)


def _raise_for(granted: Granted, minimum_micro: int, wallet_id: int) -> None:
    """Why not even the least was granted. Where nothing says why, it stood behind a request that was refused."""
    if granted.frozen:
        raise WalletFrozen(wallet_id)
    if granted.remaining_micro < minimum_micro:
        raise NotCovered(wallet_id, available_micro=max(granted.remaining_micro, 0))
    for left, is_shared in ((granted.budget, False), (granted.shared, True)):
        if left is not None and left.remaining_micro < minimum_micro:
            raise BudgetReached(
                wallet_id,
                available_micro=min(granted.remaining_micro, *_remaining(granted)),
                is_shared=is_shared,
                ends_at=left.ends_at,
            )


def _remaining(granted: Granted) -> list[int]:
    both: tuple[Remaining | None, ...] = (granted.budget, granted.shared)
    return [left.remaining_micro for left in both if left is not None]


async def _settle(
    with_budgets: str, plain: str, connection: LedgerConnection, items: Sequence[writer.Settlement]
) -> list[writer.Resolved]:
    budgeted = any(item.budgeted for item in items)
    return await writer.settle(connection, with_budgets if budgeted else plain, items)


def _freeze(wallet_id: int, because: str) -> None:
    # In a pool thread, where nobody else would ever close the connection that Django opens.
    try:
        writer.freeze(wallet_id=wallet_id, because=because)
    finally:
        connection.close()


def sweep_expired() -> int:
    """Voids every hold past its expiry (its process died) and returns how many. Opens its own transactions."""
    total = 0
    while swept := writer.expire(limit=SWEEP_BATCH):
        total += swept
    if total:
        logger.warning("expired holds swept", extra={"holds": total})
    return total
