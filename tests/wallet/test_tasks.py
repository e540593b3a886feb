from datetime import timedelta
from uuid import uuid4

import pytest
from celery import current_app
from django.conf import settings
from django.utils import timezone

import config.celery  # noqa: F401 - the application that beat and worker load
from tests.factories import WalletFactory
from wallet import tasks
from wallet.ledger.models import Hold, Wallet


def test_every_task_of_the_wallet_that_beat_sends_exists() -> None:
    of_beat = [str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()]
    sent = {name for name in of_beat if name.startswith("wallet.")}
    assert sent == {
        "wallet.sweep_expired_holds",
        "wallet.settle_returned_topups",
        "wallet.send_low_balance_alerts",
        "wallet.settle_unverified_payments",
        "wallet.recompute_tiers",
        "wallet.tell_of_balances",
        "wallet.tell_of_budgets",
        "wallet.forget_budget_marks",
    }
    assert sent <= set(current_app.tasks)


@pytest.mark.django_db
def test_expired_holds_are_swept_and_running_ones_stay() -> None:
    wallet = WalletFactory.create(credit_micro=100)
    now = timezone.now()
    holds = [
        Hold.objects.create(
            id=uuid4(),
            wallet=wallet,
            amount_micro=10,
            created_at=now - timedelta(hours=1),
            expires_at=now + rest,
        )
        for rest in (-timedelta(minutes=1), timedelta(minutes=1))
    ]
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=20)
    tasks.sweep_expired_holds()
    assert list(wallet.holds.all()) == [holds[1]]
    wallet.refresh_from_db()
    assert (wallet.posted_micro, wallet.held_micro) == (100, 10)
