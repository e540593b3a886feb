"""What Celery runs for the wallet. Each task looks at what is there, so running late or twice changes nothing."""

import logging

from celery import shared_task

from wallet import alerts, holds, tiers, topups

logger = logging.getLogger(__name__)


@shared_task(name="wallet.sweep_expired_holds")
def sweep_expired_holds() -> None:
    holds.sweep_expired()


@shared_task(name="wallet.settle_returned_topups")
def settle_returned_topups() -> None:
    for topup_id in topups.unfinished():
        try:
            topups.settle(topup_id=topup_id)
        except Exception:  # one that cannot be settled must not keep the others waiting; it is asked again
            logger.exception("top-up not settled", extra={"topup": topup_id})


@shared_task(name="wallet.recompute_tiers")
def recompute_tiers() -> None:
    tiers.recompute()


@shared_task(name="wallet.send_low_balance_alerts")
def send_low_balance_alerts() -> None:
    alerts.send_due()
