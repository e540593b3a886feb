"""Money reserved for requests: holds placed and holds raised, in batches. The statements lock as the writer's do."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from wallet.ledger import authorise_sql
from wallet.ledger.connection import LedgerConnection
from wallet.ledger.extend_sql import EXTEND


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A hold to place: `amount_micro`, or all that remains in the wallet if that is at least `minimum_micro`.

    With a budget of that wallet, both have to cover it.
    """

    hold_id: uuid.UUID
    wallet_id: int
    amount_micro: int
    minimum_micro: int
    seconds: int
    budget_id: int | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A hold to raise to `amount_micro`, or as far as the money goes if that is to at least `minimum_micro`.

    Its budget has to cover it too. It then lives for `seconds` from now on, or as long as before. Carried out twice,
    it raises nothing more.
    """

    hold_id: uuid.UUID
    wallet_id: int
    amount_micro: int
    minimum_micro: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Granted:
    """`amount_micro` is what is held in all; None where nothing was held, or no more.

    `remaining_micro` is still available in the wallet, `budget_remaining_micro` in the budget (None: there is none).
    `is_gone`: the hold to raise is not there.
    """

    amount_micro: int | None
    remaining_micro: int
    frozen: bool = False
    budget_remaining_micro: int | None = None
    is_gone: bool = False


async def reserve(connection: LedgerConnection, items: Sequence[Authorisation | Extension]) -> list[Granted]:
    """Places and raises holds that their wallets and budgets cover, durably. An unknown wallet or budget covers none.

    Those to raise come first: where the second statement fails, the batch can be tried again.
    """
    extensions = [(n, item) for n, item in enumerate(items) if isinstance(item, Extension)]
    authorisations = [(n, item) for n, item in enumerate(items) if isinstance(item, Authorisation)]
    rows = [
        *(await _extend(connection, extensions) if extensions else ()),
        *(await _authorise(connection, authorisations) if authorisations else ()),
    ]
    # No row comes back for a wallet or a hold that does not exist; -1 refuses even a hold of nothing.
    results = [Granted(None, -1, is_gone=True)] * len(items)
    for n, amount_micro, remaining_micro, frozen, budget_remaining_micro in rows:
        left = None if budget_remaining_micro is None else int(budget_remaining_micro)
        results[n] = Granted(amount_micro, int(remaining_micro), frozen, left)
    return results


async def _authorise(
    connection: LedgerConnection, items: Sequence[tuple[int, Authorisation]]
) -> Sequence[Sequence[Any]]:
    budgeted = any(item.budget_id is not None for _n, item in items)
    asked = [
        {
            "n": n,
            "id": item.hold_id,
            "wallet_id": item.wallet_id,
            "amount_micro": item.amount_micro,
            "minimum_micro": item.minimum_micro,
            "seconds": item.seconds,
            "budget_id": item.budget_id,
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
    return await connection.ask(EXTEND, {"items": orjson.dumps(asked)})
