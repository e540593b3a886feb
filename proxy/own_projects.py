"""Projects, whole: the project itself, the budget that caps it, its keys and what they were used for this month."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.shared.gauge import Gauge
from keys import lifecycle
from keys.actors import OPERATOR, Actor
from keys.models import APIKey
from keys.projects import projects
from keys.projects.projects import ListedProject
from proxy import own_keys
from proxy.own_keys import OwnKey
from proxy.usage import by_key
from proxy.usage.by_key import KeyUsage
from wallet.ledger import budgets
from wallet.ledger.budgets import BudgetReport
from wallet.ledger.periods import Period


@dataclass(frozen=True, slots=True)
class OwnProject:
    project: ListedProject
    cap: BudgetReport | None
    month: KeyUsage

    @property
    def cap_gauge(self) -> Gauge | None:
        """How much of its cap is spent."""
        if self.cap is None:
            return None
        return Gauge(self.cap.spent_micro, self.cap.limit_micro, high_percent=own_keys.MANY_PERCENT)


def listing(*, user_id: int, month_start: datetime) -> list[OwnProject]:
    """All projects in the order of `projects.listing`. `month_start` is a midnight of settings.TIME_ZONE."""
    return [_whole(project, month_start) for project in projects.listing(user_id=user_id)]


def get(*, user_id: int, project_id: int, month_start: datetime) -> OwnProject:
    """Raises UnknownProject."""
    return _whole(projects.get(user_id=user_id, project_id=project_id), month_start)


def keys(project: ListedProject, *, month_start: datetime) -> list[OwnKey]:
    return own_keys.listing(user_id=project.owner_id, month_start=month_start, project_id=project.project_id)


def create(
    *,
    user_id: int,
    name: str,
    cap_micro: int | None,
    cap_period: Period = Period.FOREVER,
    creation_token: UUID | None = None,
    by: Actor = OPERATOR,
) -> int:
    """A new project whose keys together may spend `cap_micro` per period (None: what the wallet has).

    Returns its id, the same one for the same token. Opens a transaction. Raises TooManyProjects; ValueError as
    `projects.create`.
    """
    with transaction.atomic():
        return projects.create(
            user_id=user_id,
            name=name,
            open_budget=lambda: own_keys.budget(user_id, None, cap_micro, cap_period),
            creation_token=creation_token,
            by=by,
            also=own_keys.cap_change(None, cap_micro, cap_period),
        )


def change(
    *,
    user_id: int,
    project_id: int,
    name: str,
    cap_micro: int | None,
    cap_period: Period,
    by: Actor = OPERATOR,
) -> None:
    """Sets a project's name and cap, as `own_keys.change` does a key's. Opens a transaction. Raises UnknownProject."""
    with transaction.atomic():
        lifecycle.lock_owner(user_id=user_id)  # before the project is read and its budget locked
        current = projects.get(user_id=user_id, project_id=project_id)
        projects.change(
            user_id=user_id,
            project_id=project_id,
            name=name,
            budget_id=own_keys.budget(user_id, current.budget_id, cap_micro, cap_period),
            by=by,
            also=own_keys.cap_change(_cap(current), cap_micro, cap_period),
        )


def _cap(project: ListedProject) -> BudgetReport | None:
    if project.budget_id is None:
        return None
    found = budgets.reports(wallet_id=project.owner_id, budget_ids=[project.budget_id])
    return found.get(project.budget_id)


def _whole(project: ListedProject, month_start: datetime) -> OwnProject:
    used = by_key.since(user_id=project.owner_id, start=month_start)
    of_project = APIKey.objects.filter(project=project.project_id).values_list("pk", flat=True)
    parts = [used[key_id] for key_id in of_project if key_id in used]
    month = KeyUsage(sum(each.requests for each in parts), sum(each.cost_micro for each in parts))
    return OwnProject(project, _cap(project), month)
