"""What a dollar costs, from a moment on."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from proxy.catalogue.dollar_basis import RIAL_PER_DOLLAR_MAX


class ExchangeRate(models.Model):
    """Rial per US dollar from a moment on. Never edited (the database refuses it): a new rate is a new row."""

    valid_from = models.DateTimeField(_("valid from"), default=timezone.now, unique=True)
    rial_per_dollar = models.PositiveBigIntegerField(_("Rial per US dollar"))
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("exchange rate")
        verbose_name_plural = _("exchange rates")
        ordering: ClassVar = ["-valid_from"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(rial_per_dollar__gt=0, rial_per_dollar__lte=RIAL_PER_DOLLAR_MAX),
                name="exchangerate_bounded",
                violation_error_message=_("A dollar costs at least 1 Rial, and at most 1,000,000,000."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rial_per_dollar} {self.valid_from:%Y-%m-%d}"
