"""Budgets: how much of a wallet something may spend, in all or per period.

`wallet.ledger.writer` counts what is held and spent of each, `wallet.ledger.reserving` moves it on to its next period.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from wallet.ledger import periods
from wallet.ledger.models import Budget, BudgetMark
from wallet.ledger.periods import Period

MARKS = (80, 100)  # percent of a limit that is told of; wallet.ledger.writer.SETTLE finds them


class UnknownBudget(Exception):
    """The wallet has no such budget."""


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """How far a budget is spent in its present period, in micro-Rial.

    `held_micro` is reserved by requests that are running. It begins anew at `resets_at`; None: never.
    """

    limit_micro: int
    spent_micro: int
    held_micro: int
    starts_at: datetime
    period: Period = Period.FOREVER
    resets_at: datetime | None = None
    alerts: bool = True

    @property
    def remaining_micro(self) -> int:
        return max(0, self.limit_micro - self.spent_micro - self.held_micro)

    @property
    def is_reached(self) -> bool:
        return self.spent_micro >= self.limit_micro


def open_budget(
    *, wallet_id: int, limit_micro: int, period: Period = Period.FOREVER, alerts: bool = True
) -> int:
    """Makes a new budget of a wallet, with nothing spent; returns its id."""
    now = _database_clock()
    return Budget.objects.create(
        wallet_id=wallet_id,
        limit_micro=limit_micro,
        opened_at=now,
        period=period,
        starts_at=now,
        ends_at=_end(period, now),
        alerts=alerts,
    ).pk


def set_limit(
    *,
    wallet_id: int,
    budget_id: int,
    limit_micro: int,
    period: Period | None = None,
    alerts: bool | None = None,
) -> None:
    """Raises or lowers a limit, from the next hold on; what is spent stays counted. Opens a transaction.

    With another `period` than it has (None: the same), it begins anew, with nothing spent. Raises UnknownBudget.
    """
    with transaction.atomic():
        budget = (
            Budget.objects.select_for_update(no_key=True).filter(pk=budget_id, wallet_id=wallet_id).first()
        )
        if budget is None:
            raise UnknownBudget(budget_id)
        if limit_micro > budget.limit_micro:  # what is reached of the new one is told of anew
            spent_micro = budget.spent_micro - budget.spent_before_micro
            unreached = [percent for percent in MARKS if spent_micro * 100 < limit_micro * percent]
            BudgetMark.objects.filter(
                budget=budget, starts_at=budget.starts_at or budget.opened_at, percent__in=unreached
            ).delete()
        budget.limit_micro = limit_micro
        if alerts is not None:
            budget.alerts = alerts
        if period is not None and period != budget.period:
            now = _database_clock()  # under the lock: every hold that counts so far was placed before
            budget.period, budget.starts_at, budget.ends_at = period, now, _end(period, now)
            budget.spent_before_micro, budget.held_before_micro = budget.spent_micro, budget.held_micro
            budget.previous_spent_micro = 0
        budget.save()


def reports(
    *, wallet_id: int, budget_ids: Iterable[int], now: datetime | None = None
) -> dict[int, BudgetReport]:
    """How far budgets of a wallet are spent, by id; ids of other wallets are ignored."""
    moment = now or timezone.now()
    return {
        budget.pk: report(budget, now=moment)
        for budget in Budget.objects.filter(pk__in=list(budget_ids), wallet_id=wallet_id)
    }


def report(budget: Budget, *, now: datetime) -> BudgetReport:
    """How far a budget is spent, as its row says."""
    period = Period(budget.period)
    if budget.ends_at is not None and budget.ends_at <= now:  # nothing was held since
        starts_at, resets_at = periods.bounds(period, now)
        return BudgetReport(budget.limit_micro, 0, 0, starts_at, period, resets_at, budget.alerts)
    return BudgetReport(
        budget.limit_micro,
        budget.spent_micro - budget.spent_before_micro,
        max(0, budget.held_micro - budget.held_before_micro),
        budget.starts_at or budget.opened_at,
        period,
        budget.ends_at,
        budget.alerts,
    )


def _end(period: Period, now: datetime) -> datetime | None:
    return None if period is Period.FOREVER else periods.bounds(period, now)[1]


def _database_clock() -> datetime:
    """The one by which holds are placed and periods end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
