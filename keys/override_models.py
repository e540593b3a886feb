"""Exceptions to a tier: limits of a user or of a key that hold from one moment to another, and who set them and why."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import (
    BigIntegerRangeField,
    DateTimeRangeField,
    RangeBoundary,
    RangeOperators,
)
from django.db import models
from django.db.models import F, Func, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.limit_models import Limits, ModelLimits

REASON_MAX = 500


def _of(field: str) -> Func:
    """A number as a range of itself, which GiST can compare without an extension."""
    return Func(
        F(field), F(field), RangeBoundary(inclusive_lower=True, inclusive_upper=True),
        function="int8range", output_field=BigIntegerRangeField(),
    )  # fmt: skip


def _period() -> Func:
    return Func(
        F("starts_at"), F("ends_at"), RangeBoundary(), function="tstzrange", output_field=DateTimeRangeField()
    )


class LimitOverride(Limits):
    """Takes the place of what the tier says, limit by limit; what it leaves empty stays as in the tier.

    It ends by itself: only one that holds at this moment is ever read.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="limit_overrides",
    )
    key = models.ForeignKey(
        "keys.APIKey",
        verbose_name=_("API key"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="limit_overrides",
    )
    starts_at = models.DateTimeField(_("from"), default=timezone.now)
    ends_at = models.DateTimeField(_("until"))
    reason = models.CharField(_("reason"), max_length=REASON_MAX)
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("set by"),
        on_delete=models.PROTECT,
        related_name="+",
        editable=False,
    )
    set_at = models.DateTimeField(_("set at"), default=timezone.now, editable=False)

    class Meta(Limits.Meta):
        abstract = False
        verbose_name = _("exception to a tier")
        verbose_name_plural = _("exceptions to tiers")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            *Limits.Meta.constraints,
            models.CheckConstraint(
                condition=Q(user__isnull=False, key__isnull=True) | Q(user__isnull=True, key__isnull=False),
                name="limitoverride_of_user_or_key",
            ),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="limitoverride_ends_after_it_starts"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="limitoverride_has_reason"),
            ExclusionConstraint(
                name="limitoverride_one_at_a_time_of_user",
                expressions=[(_of("user"), RangeOperators.OVERLAPS), (_period(), RangeOperators.OVERLAPS)],
                condition=Q(user__isnull=False),
            ),
            ExclusionConstraint(
                name="limitoverride_one_at_a_time_of_key",
                expressions=[(_of("key"), RangeOperators.OVERLAPS), (_period(), RangeOperators.OVERLAPS)],
                condition=Q(key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.user or self.key)


class OverrideModelLimit(ModelLimits):
    override = models.ForeignKey(LimitOverride, on_delete=models.CASCADE, related_name="model_limits")

    class Meta(ModelLimits.Meta):
        abstract = False
        verbose_name = _("limit for one model")
        verbose_name_plural = _("limits for single models")
        ordering: ClassVar = ["model"]
        constraints: ClassVar = [
            *ModelLimits.Meta.constraints,
            models.UniqueConstraint(fields=["override", "model"], name="overridemodellimit_once_each"),
        ]
