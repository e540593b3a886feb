"""Limits as rows: what of a tier, or of an exception to one, holds for one model."""

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

AT_LEAST_ONE = [MinValueValidator(1)]
MODEL_ID_MAX = 120
LIMITS = ("rpm", "tpm", "rpd", "tpd", "concurrency")


def each_positive() -> Q:
    """Of rows whose limits may all be left out."""
    found = Q()
    for name in LIMITS:
        found &= Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gt": 0})
    return found


def any_set() -> Q:
    found = Q()
    for name in LIMITS:
        found |= Q(**{f"{name}__isnull": False})
    return found


class Limits(models.Model):
    """Limits of which each may be left out."""

    rpm = models.PositiveIntegerField(
        _("requests per minute"), null=True, blank=True, validators=AT_LEAST_ONE
    )
    tpm = models.PositiveBigIntegerField(
        _("tokens per minute"), null=True, blank=True, validators=AT_LEAST_ONE
    )
    rpd = models.PositiveBigIntegerField(
        _("requests per day"), null=True, blank=True, validators=AT_LEAST_ONE
    )
    tpd = models.PositiveBigIntegerField(_("tokens per day"), null=True, blank=True, validators=AT_LEAST_ONE)
    concurrency = models.PositiveIntegerField(
        _("requests at once"), null=True, blank=True, validators=AT_LEAST_ONE
    )

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.CheckConstraint(condition=each_positive(), name="%(class)s_limits_positive"),
        ]


class ModelLimits(Limits):
    """Of one model, beside what is limited over all models. The catalogue is not known here: `model` is its name."""

    model = models.CharField(_("model"), max_length=MODEL_ID_MAX)

    class Meta:
        abstract = True
        constraints: ClassVar = [
            *Limits.Meta.constraints,
            models.CheckConstraint(
                condition=any_set(),
                name="%(class)s_limits_something",
                violation_error_message=_("Set at least one limit for this model, or remove it."),
            ),
            models.CheckConstraint(condition=~Q(model=""), name="%(class)s_has_model"),
        ]

    def __str__(self) -> str:
        return self.model


class TierModelLimit(ModelLimits):
    tier = models.ForeignKey("accounts.Tier", on_delete=models.CASCADE, related_name="model_limits")

    class Meta(ModelLimits.Meta):
        abstract = False
        verbose_name = _("limit for one model")
        verbose_name_plural = _("limits for single models")
        ordering: ClassVar = ["model"]
        constraints: ClassVar = [
            *ModelLimits.Meta.constraints,
            models.UniqueConstraint(fields=["tier", "model"], name="tiermodellimit_once_each"),
        ]
