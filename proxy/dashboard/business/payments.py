"""Money taken: top-ups by the time of their credit, found by an index of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Sum
from django.db.models.functions import Trunc

from proxy.usage.periods import Period
from wallet.payments.models import TopUp


@dataclass(frozen=True, slots=True)
class Paid:
    """What wallets were credited with, the VAT that was paid on top of it, and how often."""

    amount_micro: int = 0
    vat_micro: int = 0
    count: int = 0


NOTHING = Paid()


@dataclass(frozen=True, slots=True)
class Payments:
    """By the beginning of each hour or day with any."""

    slices: Mapping[datetime, Paid]

    def at(self, start: datetime) -> Paid:
        return self.slices.get(start, NOTHING)

    def since(self, moment: datetime) -> Paid:
        """The sum from an hour or day on."""
        found = [paid for start, paid in self.slices.items() if start >= moment]
        return Paid(
            sum(paid.amount_micro for paid in found),
            sum(paid.vat_micro for paid in found),
            sum(paid.count for paid in found),
        )


def over(period: Period) -> Payments:
    found = (
        TopUp.objects.filter(
            status=TopUp.Status.CREDITED, credited_at__gte=period.since, credited_at__lt=period.until
        )
        .order_by()
        .annotate(start=Trunc("credited_at", period.by, tzinfo=ZoneInfo(settings.TIME_ZONE)))
        .values_list("start")
        .annotate(amount=Sum("amount_micro"), vat=Sum("vat_micro"), number=Count("pk"))
    )
    return Payments({start: Paid(int(amount), int(vat), number) for start, amount, vat, number in found})
