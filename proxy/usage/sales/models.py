"""What was sold, what upstreams charge for it and how it ended: by model and upstream, and by customer."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from proxy.usage.progress import Progress


class Sales(models.Model):
    """Sums of requests in a slot, an hour or a day (Tehran's). Money is in micro-Rial.

    What an upstream charges is known of some requests only, and in Rial only where an exchange rate held: of those
    that were billed, `costed_requests`, whose bills are `costed_micro`. `cost_micro` is what these cost, and what is
    known of requests that were not billed.
    """

    class Period(models.TextChoices):
        SLOT = "slot"
        HOUR = "hour"
        DAY = "day"

    period = models.CharField(max_length=4, choices=Period.choices)
    starts_at = models.DateTimeField()
    requests = models.PositiveBigIntegerField()
    client_left = models.PositiveBigIntegerField()
    upstream_failed = models.PositiveBigIntegerField()
    refused = models.PositiveBigIntegerField()
    interrupted = models.PositiveBigIntegerField()
    billed_requests = models.PositiveBigIntegerField()
    billed_micro = models.PositiveBigIntegerField()
    costed_requests = models.PositiveBigIntegerField()
    costed_micro = models.PositiveBigIntegerField()
    cost_micro = models.PositiveBigIntegerField()

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(costed_micro__lte=F("billed_micro"), costed_requests__lte=F("billed_requests")),
                name="%(class)s_cost_of_what_was_billed",
            ),
            models.CheckConstraint(
                condition=Q(
                    requests__gte=F("client_left") + F("upstream_failed") + F("refused") + F("interrupted"),
                    billed_requests__lte=F("requests"),
                ),
                name="%(class)s_parts_within_requests",
            ),
        ]


class RouteSales(Sales):
    """Of one model through one upstream."""

    model = models.CharField(max_length=120)
    upstream_id = models.BigIntegerField()

    class Meta:
        verbose_name = _("sales of a model")
        verbose_name_plural = _("sales by model and upstream")
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["period", "starts_at", "model", "upstream_id"], name="routesales_once"
            ),
            *Sales.Meta.constraints,
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.starts_at} {self.model} {self.upstream_id}"


class CustomerSales(Sales):
    """To one customer."""

    user_id = models.BigIntegerField()

    class Meta:
        verbose_name = _("sales to a customer")
        verbose_name_plural = _("sales by customer")
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["period", "starts_at", "user_id"], name="customersales_once"),
            *Sales.Meta.constraints,
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.starts_at} {self.user_id}"


class SalesProgress(Progress):
    """How far sales are counted."""

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="sales_progress_one_row"),
            models.CheckConstraint(
                condition=Q(counted_until__gte=F("since")), name="sales_progress_forwards"
            ),
        ]
