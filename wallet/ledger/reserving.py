"""Money reserved for requests: holds placed and holds raised, in batches. The statements lock as the writer's do."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from wallet.ledger import authorise_sql, extend_sql, periods
from wallet.ledger.connection import LedgerConnection
from wallet.ledger.periods import Period


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A hold to place: `amount_micro`, or all that remains in the wallet if that is at least `minimum_micro`.

    With budgets of that wallet, all have to cover it. A shared one is a second one, never the same.
    """

    hold_id: uuid.UUID
    wallet_id: int
    amount_micro: int
    minimum_micro: int
    seconds: int
    budget_id: int | None = None
    shared_budget_id: int | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A hold to raise to `amount_micro`, or as far as the money goes if that is to at least `minimum_micro`.

    Its budgets have to cover it too. It then lives for `seconds` from now on, or as long as before. Carried out twice,
    it raises nothing more. Not `budgeted`: it was placed without a budget.
    """

    hold_id: uuid.UUID
    wallet_id: int
    amount_micro: int
    minimum_micro: int
    seconds: int
    budgeted: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """A budget to go on to another period, if the one it is in is over. A repeat does nothing."""

    budget_id: int
    period: Period
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left in a budget, and when it begins anew (None: never; or it was not asked for)."""

    remaining_micro: int
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """`amount_micro` is what is held in all; None where nothing was held, or no more.

    `remaining_micro` is still available in the wallet, `budget` and `shared` tell of the budgets (None: there is none).
    `is_gone`: the hold to raise is not there. `turns`: what has to be done before this is asked for again.
    """

    amount_micro: int | None
    remaining_micro: int
    frozen: bool = False
    budget: Remaining | None = None
    shared: Remaining | None = None
    is_gone: bool = False
    turns: tuple[Turn, ...] = ()


# No row comes back for a wallet or a hold that does not exist; -1 refuses even a hold of nothing.
NOTHING = Granted(None, -1, is_gone=True)


async def reserve(
    connection: LedgerConnection, items: Sequence[Authorisation | Extension | Turn]
) -> list[Granted]:
    """Places and raises holds that their wallets and budgets cover, durably. An unknown wallet or budget covers none.

    Those to raise come before those to place: where the second statement fails, the batch can be tried again.
    """
    turns = {item for item in items if isinstance(item, Turn)}
    extensions = [(n, item) for n, item in enumerate(items) if isinstance(item, Extension)]
    authorisations = [(n, item) for n, item in enumerate(items) if isinstance(item, Authorisation)]
    if turns:
        await _turn(connection, turns)
    results = [NOTHING] * len(items)
    if extensions:
        for row in await _extend(connection, extensions):
            results[row[0]] = _granted(row)
    if authorisations:
        for row in await _authorise(connection, authorisations):
            granted, item = _granted(row), items[row[0]]
            if granted.amount_micro is None and len(row) > 4 and isinstance(item, Authorisation):
                granted = replace(granted, turns=_turns(item, row))
            results[row[0]] = granted
    return results


def _granted(row: Sequence[Any]) -> Granted:
    _n, amount_micro, remaining_micro, frozen, *further = row
    if not further:
        return Granted(amount_micro, int(remaining_micro), frozen)
    budget_micro, shared_micro, _period, budget_ends_at, _shared_period, shared_ends_at, _placed_at = further
    return Granted(
        amount_micro,
        int(remaining_micro),
        frozen,
        None if budget_micro is None else Remaining(int(budget_micro), budget_ends_at),
        None if shared_micro is None else Remaining(int(shared_micro), shared_ends_at),
    )


def _turns(item: Authorisation, row: Sequence[Any]) -> tuple[Turn, ...]:
    """The budgets of a refused hold whose periods are over, by the clock of the database."""
    period, ends_at, shared_period, shared_ends_at, placed_at = row[6:]
    found = []
    for budget_id, kind, end in (
        (item.budget_id, period, ends_at),
        (item.shared_budget_id, shared_period, shared_ends_at),
    ):
        if budget_id is not None and end is not None and end <= placed_at:
            found.append(Turn(budget_id, Period(kind), *periods.bounds(Period(kind), placed_at)))
    return tuple(found)


async def _turn(connection: LedgerConnection, items: "set[Turn]") -> None:
    asked = [
        {
            "budget_id": item.budget_id,
            "period": item.period,
            "starts_at": item.starts_at,
            "ends_at": item.ends_at,
        }
        for item in items
    ]
    await connection.ask(authorise_sql.TURN, {"items": orjson.dumps(asked)})


async def _authorise(
    connection: LedgerConnection, items: Sequence[tuple[int, Authorisation]]
) -> Sequence[Sequence[Any]]:
    budgeted = any(item.budget_id is not None or item.shared_budget_id is not None for _n, item in items)
    asked = [
        {
            "n": n,
            "id": item.hold_id,
            "wallet_id": item.wallet_id,
            "amount_micro": item.amount_micro,
            "minimum_micro": item.minimum_micro,
            "seconds": item.seconds,
            "budget_id": item.budget_id,
            "shared_budget_id": item.shared_budget_id,
        }
        for n, item in items
    ]
    sql = authorise_sql.WITH_BUDGETS if budgeted else authorise_sql.PLAIN
    return await connection.ask(sql, {"items": orjson.dumps(asked)})


async def _extend(
    connection: LedgerConnection, items: Sequence[tuple[int, Extension]]
) -> Sequence[Sequence[Any]]:
    asked = [
        {
            "n": n,
            "id": item.hold_id,
            "wallet_id": item.wallet_id,
            "to_micro": item.amount_micro,
            "minimum_micro": item.minimum_micro,
            "seconds": item.seconds,
        }
        for n, item in items
    ]
    budgeted = any(item.budgeted for _n, item in items)
    sql = extend_sql.WITH_BUDGETS if budgeted else extend_sql.PLAIN
    return await connection.ask(sql, {"items": orjson.dumps(asked)})
