"""Which top-ups have to be settled although their payer never came back; `topups.settle` then asks their gateway."""

import logging
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from wallet.payments import gateways
from wallet.payments.gateways.interface import GatewayError
from wallet.payments.models import TopUp
from wallet.payments.topups import CLAIM_LASTS, EXPIRE_AFTER, SETTLED, UNFINISHED, Status

logger = logging.getLogger(__name__)

# The reconciler leaves the payer's own return this much time to do the work.
ASK_RETURNED_AFTER = timedelta(seconds=30)
ASK_REDIRECTED_AFTER = timedelta(minutes=2)
# One that is still open after an hour was most likely left open at the bank: it is asked about now and then.
ASK_OFTEN_FOR = timedelta(hours=1)
ASK_SELDOM = timedelta(minutes=15)
BATCH = 50


def unfinished() -> list[UUID]:
    """Top-ups that their payer's browser should have brought to an end by now, some of them, in no order.

    No order, so that a few which the gateway cannot tell anything about do not keep the others from being asked.
    """
    now = timezone.now()
    due = (
        Q(status=Status.RETURNED, returned_at__lt=now - ASK_RETURNED_AFTER)
        | Q(status=Status.REDIRECTED, created_at__lt=now - ASK_REDIRECTED_AFTER)
        | Q(status=Status.VERIFYING, claimed_at__lt=now - CLAIM_LASTS)
        | Q(status=Status.CREATED, created_at__lt=now - EXPIRE_AFTER)
    )
    rested = (
        Q(created_at__gt=now - ASK_OFTEN_FOR)
        | Q(claimed_at__isnull=True)
        | Q(claimed_at__lt=now - ASK_SELDOM)
    )
    found = TopUp.objects.filter(due, rested, status__in=UNFINISHED).order_by("?")
    return list(found.values_list("pk", flat=True)[:BATCH])


def unverified() -> list[UUID]:
    """Top-ups that a gateway lists as paid and not verified: their payer never came back, or came after we gave up.

    Asks the gateways, so it belongs outside transactions.
    """
    found: list[UUID] = []
    for name in gateways.available():
        listed = gateways.named(name).unverified()
        if isinstance(listed, GatewayError):
            logger.warning("no list of unverified payments", extra={"gateway": name, "detail": listed.detail})
            continue
        ours = TopUp.objects.filter(gateway=name, authority__in=list(listed)).exclude(status__in=SETTLED)
        found += ours.values_list("pk", flat=True)
    return found
