"""What webhooks are told of money: top-ups with their credit, balances by what a look at them finds.

A balance is empty below EMPTY_MICRO, which pays for next to nothing, and low below what its owner has chosen to be
warned at. Every change that a look finds is told once, in the order low, empty, recovered; a wallet that nobody has
looked at yet changes nothing by being looked at. What happens and is undone between two looks is not told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from django.db import connection, transaction

from accounts.signals import outbox
from accounts.signals.events import Event
from wallet.credits.models import BalanceState
from wallet.money import micro_from_toman, toman_figure

State = BalanceState.State
EMPTY_MICRO = micro_from_toman(100)
LOOK_MAX = 1_000
BALANCES = (Event.BALANCE_LOW, Event.BALANCE_EMPTY, Event.BALANCE_RECOVERED)

# Only wallets that a webhook wants to hear of, however many others there are.
CHANGED = """
SELECT looked.* FROM (
    SELECT w.user_id, w.posted_micro, a.threshold_micro, s.state AS before,
        CASE WHEN w.posted_micro < %(empty)s THEN 'empty'
             WHEN w.posted_micro < a.threshold_micro THEN 'low'
             ELSE 'enough' END AS state
    FROM (
        SELECT DISTINCT user_id FROM accounts_webhookendpoint
        WHERE state <> 'disabled' AND events && %(events)s::varchar[]
    ) told
    JOIN wallet_wallet w ON w.user_id = told.user_id
    LEFT JOIN wallet_walletalert a ON a.wallet_id = w.user_id
    LEFT JOIN wallet_balancestate s ON s.wallet_id = w.user_id
) looked
WHERE before IS DISTINCT FROM state ORDER BY user_id LIMIT %(limit)s
"""
# Of two looks at once, one finds the state as it was.
MOVE = """
INSERT INTO wallet_balancestate AS s (wallet_id, state, changed_at)
VALUES (%(wallet_id)s, %(state)s, statement_timestamp())
ON CONFLICT (wallet_id) DO UPDATE SET state = EXCLUDED.state, changed_at = EXCLUDED.changed_at
WHERE s.state = %(before)s
"""


@dataclass(frozen=True, slots=True)
class _Look:
    wallet_id: int
    posted_micro: int
    threshold_micro: int | None
    before: str | None
    state: str


def topup_credited(*, user_id: int, topup_id: UUID, amount_micro: int) -> None:
    """Needs the transaction that credits it."""
    outbox.emit(
        user_id=user_id,
        event=Event.TOPUP_CREDITED,
        data={
            "topup_id": str(topup_id),
            "amount_toman": _toman(amount_micro),
            "amount_micro": amount_micro,
            "currency": "IRT",
        },
        dedup=str(topup_id),
    )


def tell_of_balances() -> int:
    """Looks at the balances that webhooks want to hear of; returns how many have changed. Opens transactions."""
    with connection.cursor() as cursor:
        cursor.execute(
            CHANGED, {"empty": EMPTY_MICRO, "events": [each.value for each in BALANCES], "limit": LOOK_MAX}
        )
        looks = [_Look(*row) for row in cursor.fetchall()]
    return sum(_tell(each) for each in looks)


def _tell(look: _Look) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MOVE, {"wallet_id": look.wallet_id, "state": look.state, "before": look.before})
        if not cursor.rowcount:
            return False
        data = {
            "posted_toman": _toman(look.posted_micro),
            "posted_micro": look.posted_micro,
            "threshold_toman": None if look.threshold_micro is None else _toman(look.threshold_micro),
            "currency": "IRT",
        }
        for event in _events(look):
            outbox.emit(user_id=look.wallet_id, event=event, data=data)
    return True


def _events(look: _Look) -> Sequence[Event]:
    is_low = look.threshold_micro is not None and look.posted_micro < look.threshold_micro
    match look.before, look.state:
        case (State.ENOUGH, State.EMPTY) if is_low:
            return (Event.BALANCE_LOW, Event.BALANCE_EMPTY)
        case (State.ENOUGH, State.LOW):
            return (Event.BALANCE_LOW,)
        case (State.ENOUGH | State.LOW, State.EMPTY):
            return (Event.BALANCE_EMPTY,)
        case (State.LOW | State.EMPTY, State.ENOUGH):
            return (Event.BALANCE_RECOVERED,)
    return ()  # seen for the first time, or from empty to low


def _toman(micro: int) -> orjson.Fragment:
    """The exact figure, as a number."""
    return orjson.Fragment(toman_figure(micro).encode())
