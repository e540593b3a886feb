"""Budgets: how much of a wallet something may spend in all. `wallet.ledger.writer` counts
what is held and spent of each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from wallet.ledger.models import Budget


class UnknownBudget(Exception):
    """The wallet has no such budget."""


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """How far a budget is spent, in micro-Rial. `held_micro` is reserved by requests that are running."""

    limit_micro: int
    spent_micro: int
    held_micro: int
    opened_at: datetime

    @property
    def remaining_micro(self) -> int:
        return max(0, self.limit_micro - self.spent_micro - self.held_micro)

    @property
    def is_reached(self) -> bool:
        return self.spent_micro >= self.limit_micro


def open_budget(*, wallet_id: int, limit_micro: int) -> int:
    """Makes a new budget of a wallet, with nothing spent; returns its id."""
    return Budget.objects.create(wallet_id=wallet_id, limit_micro=limit_micro).pk


def set_limit(*, wallet_id: int, budget_id: int, limit_micro: int) -> None:
    """Raises or lowers a limit, from the next hold on; what is spent stays counted. Raises UnknownBudget."""
    if not Budget.objects.filter(pk=budget_id, wallet_id=wallet_id).update(limit_micro=limit_micro):
        raise UnknownBudget(budget_id)


def reports(*, wallet_id: int, budget_ids: Iterable[int]) -> dict[int, BudgetReport]:
    """How far budgets of a wallet are spent, by id; ids of other wallets are ignored."""
    return {
        budget.pk: BudgetReport(budget.limit_micro, budget.spent_micro, budget.held_micro, budget.opened_at)
        for budget in Budget.objects.filter(pk__in=list(budget_ids), wallet_id=wallet_id)
    }
