"""Notices about budgets: one per budget, period and mark, whatever settles at once."""

import asyncio
from typing import Any

import pytest
from django.utils import timezone

from accounts.channel_models import Notice
from accounts.channels import notices
from accounts.signals.events import Event
from accounts.signals.models import WebhookEndpoint, WebhookEvent
from keys import lifecycle
from keys.rules import KeyRules
from tests.factories import WalletFactory
from tests.wallet.ledger.test_budget_periods import end_period, within_both
from tests.wallet.ledger.test_holds import in_one_process, open_holds
from tests.wallet.test_database_rules import refused_by
from wallet import budget_alerts
from wallet.ledger.budgets import open_budget, set_limit
from wallet.ledger.holds import Holds
from wallet.ledger.models import BudgetMark, Wallet
from wallet.ledger.periods import Period

LIMIT = 10_000
NOW = timezone.now()


@pytest.fixture(autouse=True)
def with_sms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "are_possible", lambda: True)


def spend(wallet: Wallet, budget: int, *costs: int, shared: int | None = None) -> None:
    async def work(opened: Holds) -> None:
        for cost in costs:
            await opened.place(**(ask := within_both(wallet, budget, shared, cost)))
            await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=cost)

    in_one_process(work)


def tell(wallet: Wallet) -> list[str]:
    """What was told of by now."""
    while budget_alerts.tell_due():
        pass
    heard = Notice.objects.filter(user_id=wallet.pk, event__startswith="budget.")
    return list(heard.order_by("id").values_list("event", flat=True))


def marks(budget: int) -> list[int]:
    return sorted(BudgetMark.objects.filter(budget=budget).values_list("percent", flat=True))


def test_each_mark_is_told_of_once_per_period(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT, period=Period.MONTH)
    spend(wallet, budget, 7_999)
    assert tell(wallet) == []
    spend(wallet, budget, 1, 1)
    for _ in range(2):
        assert tell(wallet) == ["budget.80"]
    spend(wallet, budget, 1_999)
    assert tell(wallet) == ["budget.80", "budget.reached"]
    end_period(budget)
    spend(wallet, budget, LIMIT)  # both at once
    assert tell(wallet) == ["budget.80", "budget.reached"] * 2


def test_a_mark_of_a_period_that_is_over_is_told_of_all_the_same(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT, period=Period.DAY)
    spend(wallet, budget, 9_000)
    end_period(budget)
    spend(wallet, budget, 100)
    assert tell(wallet) == ["budget.80"]
    budget_alerts.forget()
    assert marks(budget) == [80]
    BudgetMark.objects.filter(budget=budget).update(told_at=NOW - budget_alerts.KEPT)
    budget_alerts.forget()
    assert marks(budget) == []


def test_a_limit_that_is_raised_is_told_of_anew_and_one_without_alerts_never(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT)
    silent = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT, alerts=False)
    spend(wallet, budget, 9_000, shared=silent)
    set_limit(wallet_id=wallet.pk, budget_id=budget, limit_micro=2 * LIMIT)
    set_limit(wallet_id=wallet.pk, budget_id=silent, limit_micro=2 * LIMIT)
    spend(wallet, budget, 9_000, shared=silent)
    assert marks(silent) == []
    assert marks(budget) == [80]
    assert len(tell(wallet)) == 1


def test_many_settlements_at_once_reach_a_mark_once(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    own = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT, period=Period.WEEK)
    shared = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT)

    async def two_processes() -> None:
        async with open_holds() as one, open_holds() as other:

            async def call(n: int) -> None:
                opened, ask = (one, other)[n % 2], within_both(wallet, own, shared, 100)
                await opened.place(**ask)
                await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=100)

            await asyncio.gather(*(call(n) for n in range(100)))

    asyncio.run(two_processes())
    assert marks(own) == marks(shared) == [80, 100]
    assert sorted(tell(wallet)) == ["budget.80", "budget.80", "budget.reached", "budget.reached"]


def test_nobody_hears_more_than_ten_a_day_and_webhooks_hear_all(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    WebhookEndpoint.objects.create(
        user_id=wallet.pk,
        address="https://example.com/",
        events=[Event.BUDGET_80, Event.BUDGET_REACHED],
        secret_encrypted=b"gAAAAAx",
    )
    for _ in range(7):
        spend(wallet, open_budget(wallet_id=wallet.pk, limit_micro=100), 100)
    assert len(tell(wallet)) == budget_alerts.DAY_MAX
    events = WebhookEvent.objects.filter(user_id=wallet.pk)
    assert events.count() == 14
    data: Any = events.filter(event="budget.reached")[0].data
    assert (data["percent"], data["limit_toman"], data["period"]) == (100, "0.00001", "forever")


@pytest.mark.django_db
def test_the_database_keeps_marks_single_and_known() -> None:
    budget = open_budget(wallet_id=WalletFactory.create().pk, limit_micro=5)
    fields: dict[str, Any] = {"budget_id": budget, "starts_at": NOW, "reached_at": NOW}
    assert refused_by(lambda: BudgetMark.objects.create(**fields, percent=50)) == "budgetmark_percent_known"
    BudgetMark.objects.create(**fields, percent=80)
    assert refused_by(lambda: BudgetMark.objects.create(**fields, percent=80)) == "budgetmark_once"


def test_a_notice_names_the_key_or_the_project_whose_cap_it_is(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=LIMIT, period=Period.DAY)
    lifecycle.create(user_id=wallet.pk, name="the shop's own key", rules=KeyRules(budget_id=budget))
    spend(wallet, budget, LIMIT)
    tell(wallet)
    texts = Notice.objects.filter(user_id=wallet.pk).values_list("text", flat=True)
    assert len(texts) == 2
    assert all("«the shop's own key»" in text for text in texts)
