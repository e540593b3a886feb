"""How well each model answered: calls counted by slots of five minutes, hours and days."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from proxy.usage.progress import Progress


class ModelHealth(models.Model):
    """What became of one model's calls in a slot, an hour or a day (Tehran's), of all customers together.

    Latencies are counts in the buckets of proxy.usage.latency: of answered streams the time to their first byte, of
    other answers the whole time.
    """

    class Period(models.TextChoices):
        SLOT = "slot"
        HOUR = "hour"
        DAY = "day"

    period = models.CharField(max_length=4, choices=Period.choices)
    starts_at = models.DateTimeField()
    model = models.CharField(max_length=120)
    answered = models.PositiveBigIntegerField()
    failed = models.PositiveBigIntegerField()
    first_buckets = ArrayField(models.PositiveSmallIntegerField())
    first_counts = ArrayField(models.PositiveBigIntegerField())
    whole_buckets = ArrayField(models.PositiveSmallIntegerField())
    whole_counts = ArrayField(models.PositiveBigIntegerField())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["period", "starts_at", "model"], name="health_once"),
            models.CheckConstraint(
                condition=Q(first_buckets__len=F("first_counts__len"))
                & Q(whole_buckets__len=F("whole_counts__len")),
                name="health_latency_in_pairs",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.starts_at} {self.model}"


class HealthProgress(Progress):
    """How far calls are counted."""

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="health_progress_one_row"),
            models.CheckConstraint(
                condition=Q(counted_until__gte=F("since")), name="health_progress_forwards"
            ),
        ]
