"""Each night it is proved that the books of the day before add up; what was found stays, and is told loudly.

A day that was missed is made up for. Proved twice, a day has one proof, the last one.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from time import monotonic
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import admins
from accounts.shared.formats import date_text
from config.models import Proof
from proxy.usage import progress, proof_rules, proving, rollups
from proxy.usage.health import counting as health
from proxy.usage.health.models import HealthProgress
from proxy.usage.sales import counting as sales
from proxy.usage.sales.models import SalesProgress
from wallet import freezing

logger = logging.getLogger(__name__)

DAY = timedelta(days=1)
# After midnight: by then what is still under way has been settled, and the last hour has been summed.
CLOSED_AFTER = timedelta(hours=1)
OVERDUE = 2 * DAY  # since the end of the last day proved
SECONDS_PER_RUN = 1800
SAID_MAX = 20


def prove_due(*, now: datetime | None = None) -> list[Proof]:
    """Proves the days that are closed and not proved yet, as many as there is time for. Opens transactions."""
    moment, end = now or timezone.now(), monotonic() + SECONDS_PER_RUN
    made: list[Proof] = []
    while (day := due(now=moment)) is not None and monotonic() < end:
        if not _counted(until=day + DAY):
            logger.warning("books not proved yet: usage is still being summed", extra={"day": day})
            break
        made.append(prove(since=day, until=day + DAY))
    return made


def due(*, now: datetime) -> datetime | None:
    """The start of the oldest day that is closed and not proved; None: there is none. The first one is yesterday."""
    today = _midnight(now - CLOSED_AFTER)
    last = Proof.objects.order_by("-until").first()
    day = today - DAY if last is None else last.until
    return day if day < today else None


def prove(*, since: datetime, until: datetime) -> Proof:
    """Proves one day, freezes the wallets whose books are wrong, and tells all admins. Opens transactions."""
    began, made_at = monotonic(), timezone.now()
    proved = proving.prove(since=since, until=until)
    freezing.freeze((rule, row.get("wallet_id") or row.get("user_id")) for rule, row in proved.found)
    with transaction.atomic():
        proof, is_new = Proof.objects.update_or_create(
            since=since,
            defaults={
                "until": until,
                "made_at": made_at,
                "seconds": monotonic() - began,
                "rules": len(proof_rules.HOURLY) + len(proof_rules.DAILY) + 1,
                "records": proved.records,
                "cost_micro": proved.cost_micro,
                "booked_micro": proved.booked_micro,
                "upstream_cost_micro": proved.upstream_cost_micro,
                "upstream_cost_nanodollars": proved.upstream_cost_nanodollars,
                "faults": len(proved.found),
                "said": "\n".join(_said(proved)),
            },
        )
        if proof.faults:
            logger.error(
                "books do not add up", extra={"day": since, "faults": proof.faults, "first": proof.said[:500]}
            )
            if is_new:
                admins.tell(
                    _(
                        "Hamiran: the books of %(day)s do not add up (%(faults)s faults). See the administration."
                    ),
                    day=date_text(since, language=settings.LANGUAGE_CODE),
                    faults=str(proof.faults),
                )
    return proof


def last() -> Proof | None:
    return Proof.objects.order_by("-until").first()


def _said(proved: proving.Proved) -> Iterator[str]:
    for rule, row in proved.found[:SAID_MAX]:
        detail = ", ".join(f"{name}={value}" for name, value in row.items() if value is not None)
        yield f"{rule}: {detail}"


def _counted(*, until: datetime) -> bool:
    """Brings roll-ups up to the end of a day, also where nothing has followed it; whether that was all."""
    rollups.roll_up()
    if (rolled := rollups.rolled_up_until()) is not None and rolled < until:
        rollups.roll_up(since=until - rollups.HOUR)
    health.count()
    sales.count()
    behind = {"counted_until__lt": until + progress.LATE}
    return not any(kind.objects.filter(**behind).exists() for kind in (HealthProgress, SalesProgress))


def _midnight(moment: datetime) -> datetime:
    zone = ZoneInfo(settings.TIME_ZONE)
    return datetime.combine(moment.astimezone(zone).date(), time.min, zone)
