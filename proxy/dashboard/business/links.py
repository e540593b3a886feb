"""Addresses of the lists in the admin that hold what a figure counts."""

from datetime import datetime
from typing import Any

from proxy.dashboard.business.tables import rows_of
from proxy.usage.models import UsageRecord

Outcome = UsageRecord.Outcome
FAILED = (Outcome.UPSTREAM_FAILED, Outcome.REFUSED, Outcome.INTERRUPTED)
BILLED = [each for each in UsageRecord.BilledBy.values if each != UsageRecord.BilledBy.NOTHING]


def usage(since: datetime, until: datetime, **filters: Any) -> str:
    """Requests that ended from one moment on and before another: those that are counted."""
    return rows_of(
        "proxy.usagerecord", created_at__gte=since.isoformat(), created_at__lt=until.isoformat(), **filters
    )


def failed(since: datetime, until: datetime, **filters: Any) -> str:
    return usage(since, until, outcome__in=",".join(FAILED), **filters)


def without_cost(since: datetime, until: datetime, **filters: Any) -> str:
    """Billed requests of which nobody said what they cost."""
    return usage(
        since,
        until,
        billed_by__in=",".join(BILLED),
        upstream_cost_micro__isnull="True",
        upstream_cost_nanodollars__isnull="True",
        **filters,
    )


def topups_credited(since: datetime) -> str:
    return rows_of("wallet.topup", status__exact="credited", credited_at__gte=since.isoformat())


def codes(since: datetime, **filters: Any) -> str:
    return rows_of("accounts.challenge", created_at__gte=since.isoformat(), **filters)


def notices(since: datetime, *, channel: str, outcome: str) -> str:
    return rows_of(
        "accounts.notice", created_at__gte=since.isoformat(), channel__exact=channel, outcome__exact=outcome
    )
