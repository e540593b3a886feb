"""What Celery runs for the wallet. Each task looks at what is there, so running late or twice changes nothing."""

import logging
import time
from uuid import UUID

from celery import shared_task

from wallet import alerts, budget_alerts, signals, tiers
from wallet.ledger import holds
from wallet.payments import reconciling, topups

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 60


@shared_task(name="wallet.sweep_expired_holds", soft_time_limit=60)
def sweep_expired_holds() -> None:
    holds.sweep_expired()


@shared_task(name="wallet.settle_returned_topups", soft_time_limit=150)
def settle_returned_topups() -> None:
    _settle(reconciling.unfinished())


@shared_task(name="wallet.settle_unverified_payments", soft_time_limit=150)
def settle_unverified_payments() -> None:
    _settle(reconciling.unverified())


def _settle(topup_ids: list[UUID]) -> None:
    # A gateway that hangs must not keep the worker; the next run finds the rest.
    deadline = time.monotonic() + SETTLE_SECONDS
    for topup_id in topup_ids:
        if time.monotonic() > deadline:
            logger.warning("not all top-ups were asked about in time")
            return
        try:
            topups.settle(topup_id=topup_id)
        except Exception:  # one that cannot be settled must not keep the others waiting; it is asked again
            logger.exception("top-up not settled", extra={"topup": topup_id})


@shared_task(name="wallet.recompute_tiers", soft_time_limit=120)
def recompute_tiers() -> None:
    tiers.recompute()


@shared_task(name="wallet.send_low_balance_alerts", soft_time_limit=60)
def send_low_balance_alerts() -> None:
    alerts.tell_due()


@shared_task(name="wallet.tell_of_budgets", soft_time_limit=60)
def tell_of_budgets() -> None:
    budget_alerts.tell_due()


@shared_task(name="wallet.forget_budget_marks", soft_time_limit=300)
def forget_budget_marks() -> None:
    budget_alerts.forget()


@shared_task(name="wallet.tell_of_balances", soft_time_limit=60)
def tell_of_balances() -> None:
    signals.tell_of_balances()
