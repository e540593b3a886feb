"""Periodic work of Celery here: roll-ups and keys' last use. Each looks at what is there, so late is never lost."""

import logging

from celery import shared_task

from proxy.api.manage import repeats as management_repeats
from proxy.idempotency import keeping
from proxy.usage import integrity as usage_integrity
from proxy.usage import partitions, retention, rollups
from proxy.usage.health import counting
from proxy.usage.sales import counting as sales_counting
from wallet import freezing
from wallet import integrity as wallet_integrity

logger = logging.getLogger(__name__)


@shared_task(name="proxy.roll_up_usage", soft_time_limit=300)
def roll_up_usage() -> None:
    rollups.roll_up()
    rollups.add_latency()


@shared_task(name="proxy.keep_usage_partitions", soft_time_limit=600)
def keep_usage_partitions() -> None:
    partitions.make_ahead()
    retention.detach_past()
    if held := partitions.in_default():
        logger.error("usage records are in the default partition", extra={"records": held})


@shared_task(name="proxy.count_health", soft_time_limit=120)
def count_health() -> None:
    counting.count()


@shared_task(name="proxy.count_sales", soft_time_limit=60)
def count_sales() -> None:
    sales_counting.count()


@shared_task(name="proxy.flush_last_used", soft_time_limit=60)
def flush_last_used() -> None:
    rollups.flush_last_used()


@shared_task(name="proxy.purge_idempotency", soft_time_limit=120)
def purge_idempotency() -> None:
    keeping.purge()
    management_repeats.purge()


@shared_task(name="proxy.verify_ledger", soft_time_limit=3600)
def verify_ledger() -> None:
    freezing.freeze_broken([*wallet_integrity.CHECKS, *usage_integrity.CHECKS])
