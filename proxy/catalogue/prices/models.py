"""What models cost, from a moment on, and what a dollar does."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.decisions import Decision
from accounts.shared import formats
from proxy.catalogue.models import LanguageModel, none_or_object
from proxy.catalogue.prices.dollar_basis import RIAL_PER_DOLLAR_MAX
from proxy.catalogue.prices.price_quote import RIAL_PER_MILLION_MAX


class PriceColumns(models.Model):
    """A price list from a moment on, in whole Rial (proxy.catalogue.prices.price_quote).

    The three components that nearly every list has are columns; `further` holds all others, tiers and prices of
    images, in the shape of proxy.catalogue.prices.price_shape.
    """

    valid_from = models.DateTimeField(_("valid from"), default=timezone.now)
    input_rial_per_million = models.PositiveBigIntegerField(_("input, Rial per million tokens"))
    output_rial_per_million = models.PositiveBigIntegerField(_("output, Rial per million tokens"))
    cached_input_rial_per_million = models.PositiveBigIntegerField(
        _("cached input, Rial per million tokens"),
        null=True,
        blank=True,
        help_text=_("Empty: cached input costs what input costs."),
    )
    further = models.JSONField(_("further prices"), null=True, blank=True, editable=False)
    # In dollars, with mark-up and rate, as proxy.catalogue.prices.dollar_basis stores it; NULL: given in Toman.
    dollar_basis = models.JSONField(_("dollar basis"), null=True, blank=True, editable=False)

    class Meta:
        abstract = True
        constraints: ClassVar = [
            # A typing mistake here would overflow the cost of a request and stop its settlement.
            models.CheckConstraint(
                condition=Q(
                    input_rial_per_million__lte=RIAL_PER_MILLION_MAX,
                    output_rial_per_million__lte=RIAL_PER_MILLION_MAX,
                )
                & (
                    Q(cached_input_rial_per_million__isnull=True)
                    | Q(cached_input_rial_per_million__lte=RIAL_PER_MILLION_MAX)
                ),
                name="%(class)s_bounded",
                violation_error_message=_("This price is beyond what the system can charge."),
            ),
            models.CheckConstraint(
                condition=none_or_object("further"),
                name="%(class)s_further_is_object",
            ),
            models.CheckConstraint(
                condition=none_or_object("dollar_basis"),
                name="%(class)s_dollar_basis_is_object",
            ),
        ]


class Price(PriceColumns):
    """The price list of a model from a moment on. Never edited (the database refuses it): a new price is a new row."""

    model = models.ForeignKey(
        LanguageModel, verbose_name=_("model"), on_delete=models.PROTECT, related_name="prices"
    )

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        ordering: ClassVar = ["model", "-valid_from"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "valid_from"], name="price_one_a_moment"),
            *PriceColumns.Meta.constraints,
        ]

    def __str__(self) -> str:
        return f"{self.model} ({formats.date_text(self.valid_from, language=get_language())})"


class PriceChange(PriceColumns, Decision):
    """A price that one admin may not set alone; it becomes a Price once another one has approved it.

    Neither the request nor the decision is ever changed (the database refuses both).
    """

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")

    model = models.ForeignKey(
        LanguageModel, verbose_name=_("model"), on_delete=models.PROTECT, related_name="price_changes"
    )
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.PENDING)

    class Meta:
        verbose_name = _("change of a price")
        verbose_name_plural = _("changes of prices")
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [("approve_pricechange", _("Can approve or reject changes of prices"))]
        constraints: ClassVar = [
            *PriceColumns.Meta.constraints,
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("requested_by")),
                name="pricechange_two_people",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True, approved_by__isnull=True)
                | Q(state="approved", decided_at__isnull=False, approved_by__isnull=False)
                | Q(state="rejected", decided_at__isnull=False, approved_by__isnull=True),
                name="pricechange_state_fits",
            ),
            models.UniqueConstraint(
                fields=["model"], condition=Q(state="pending"), name="pricechange_one_waits"
            ),
        ]

    def __str__(self) -> str:
        return str(self.model)


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
        language = get_language()
        rate = formats.number_text(self.rial_per_dollar, language=language)
        return f"{rate} ({formats.date_text(self.valid_from, language=language)})"
