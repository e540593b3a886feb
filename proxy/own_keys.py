"""A person's keys, whole: the key itself, the budget that caps it, and what it was used for this month.

`keys` and `wallet` do not know each other; what the key pages and the management API do to both of them is here.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.shared.gauge import Gauge
from keys import lifecycle, reading
from keys.actors import OPERATOR, Actor
from keys.changes import Changes
from keys.lifecycle import CreatedKey
from keys.reading import ListedKey, State
from keys.rules import KeyRules
from proxy.catalogue.models import LanguageModel
from proxy.usage import by_key
from proxy.usage.by_key import KeyUsage
from wallet.ledger import budgets
from wallet.ledger.budgets import BudgetReport
from wallet.ledger.periods import Period
from wallet.money import toman_from_micro

MANY_PERCENT = 90


@dataclass(frozen=True, slots=True)
class OwnKey:
    """`month` is there where it was asked for."""

    key: ListedKey
    cap: BudgetReport | None
    month: KeyUsage | None = None

    @property
    def cap_gauge(self) -> Gauge | None:
        """How much of its cap is spent."""
        if self.cap is None:
            return None
        return Gauge(self.cap.spent_micro, self.cap.limit_micro, high_percent=MANY_PERCENT)


def listing(*, user_id: int, month_start: datetime, project_id: int | None = None) -> list[OwnKey]:
    """All keys in the order of `reading.listing`. `month_start` is a midnight of settings.TIME_ZONE."""
    return _whole(user_id, reading.listing(user_id, project_id=project_id), month_start)


def get(*, user_id: int, key_id: int, month_start: datetime) -> OwnKey:
    """One key. Raises UnknownKey."""
    [found] = _whole(user_id, [reading.get(user_id=user_id, key_id=key_id)], month_start)
    return found


def page(
    *, user_id: int, limit: int, before: int | None = None, states: Collection[State] = ()
) -> list[OwnKey]:
    """As `reading.page`, with their caps: two queries, however many they are."""
    keys = reading.page(user_id=user_id, limit=limit, before=before, states=states, now=timezone.now())
    caps = _caps(user_id, keys)
    return [OwnKey(key, caps.get(key.key_id)) for key in keys]


def one(*, user_id: int, key_id: int) -> OwnKey:
    """One key with its cap. Raises UnknownKey."""
    key = reading.get(user_id=user_id, key_id=key_id)
    return OwnKey(key, _caps(user_id, [key]).get(key_id))


def models_to_allow() -> list[str]:
    """What a key may be allowed, beside the models that it is allowed already."""
    return list(LanguageModel.objects.filter(is_active=True).values_list("model_id", flat=True))


def create(
    *,
    user_id: int,
    name: str,
    rules: KeyRules,
    cap_micro: int | None,
    cap_period: Period = Period.FOREVER,
    creation_token: UUID | None = None,
    by: Actor = OPERATOR,
    project_id: int | None = None,
    created_by_id: int | None = None,
) -> CreatedKey:
    """A new key that may spend `cap_micro` per period (None: what the wallet has). Opens a transaction.

    Of the user's or of a project of theirs, as in `lifecycle.create`. Raises TooManyKeys, NoNewKeys, AlreadyCreated,
    TooManyToday, UnknownProject.
    """
    with transaction.atomic():
        return lifecycle.create(
            user_id=user_id,
            name=name,
            rules=replace(rules, budget_id=budget(user_id, None, cap_micro, cap_period)),
            creation_token=creation_token,
            by=by,
            also=cap_change(None, cap_micro, cap_period),
            project_id=project_id,
            created_by_id=created_by_id,
        )


def change(
    *,
    user_id: int,
    key_id: int,
    name: str,
    rules: KeyRules,
    cap_micro: int | None,
    cap_period: Period | None = None,
    by: Actor = OPERATOR,
) -> None:
    """Sets a key's name, rules and cap; of a cap that is changed, what was spent stays counted. Opens a transaction.

    With another period than the cap has (None: the same), it is counted anew. Raises UnknownKey, KeyEnded.
    """
    with transaction.atomic():
        lifecycle.lock_owner(user_id=user_id)  # before the key is read and its budget locked
        current = reading.get(user_id=user_id, key_id=key_id)
        cap = _caps(user_id, [current]).get(key_id)
        budget_id = budget(user_id, current.rules.budget_id, cap_micro, cap_period)
        lifecycle.change(
            user_id=user_id,
            key_id=key_id,
            name=name,
            rules=replace(rules, budget_id=budget_id),
            by=by,
            also=cap_change(cap, cap_micro, cap_period),
        )


def budget(user_id: int, current: int | None, cap_micro: int | None, period: Period | None) -> int | None:
    if cap_micro is None:
        return None
    if current is None:
        return budgets.open_budget(wallet_id=user_id, limit_micro=cap_micro, period=period or Period.FOREVER)
    budgets.set_limit(wallet_id=user_id, budget_id=current, limit_micro=cap_micro, period=period)
    return current


def cap_change(before: BudgetReport | None, after: int | None, period: Period | None) -> Changes:
    """What the log of changes is told of a cap, in whole Toman, and of its period."""
    told: dict[str, tuple[Any, Any]] = {}
    old = None if before is None else before.limit_micro
    if old != after:
        shown = [None if each is None else toman_from_micro(each) for each in (old, after)]
        told["cap_toman"] = (shown[0], shown[1])
    kept = Period.FOREVER if before is None else before.period
    if after is not None and period is not None and period is not kept:
        told["cap_period"] = (kept.value, period.value)
    return told


def _caps(user_id: int, keys: list[ListedKey]) -> dict[int, BudgetReport]:
    """By key; those without a cap are absent."""
    of_keys = {key.key_id: key.rules.budget_id for key in keys if key.rules.budget_id is not None}
    reports = budgets.reports(wallet_id=user_id, budget_ids=set(of_keys.values()))
    return {key_id: reports[budget_id] for key_id, budget_id in of_keys.items() if budget_id in reports}


def _whole(user_id: int, keys: list[ListedKey], month_start: datetime) -> list[OwnKey]:
    used = by_key.since(user_id=user_id, start=month_start)
    caps = _caps(user_id, keys)
    return [OwnKey(key, caps.get(key.key_id), used.get(key.key_id, KeyUsage())) for key in keys]
