"""What an invoice is made of: the rate of VAT, the seller's and the buyer's particulars, the number, the invoice."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.shared import formats

BASIS_POINTS_MAX = 10_000


class VATRate(models.Model):
    """The rate that holds from a day on, in Tehran. Never edited (the database refuses it): a new rate is a new row.

    Of two rows for one day the later one holds, so that a slip can be put right.
    """

    basis_points = models.PositiveIntegerField(
        _("rate"), help_text=_("In hundredths of a percent: 1000 is 10%.")
    )
    valid_from = models.DateField(_("valid from"))

    class Meta:
        verbose_name = _("VAT rate")
        verbose_name_plural = _("VAT rates")
        ordering: ClassVar = ["-valid_from", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(basis_points__lte=BASIS_POINTS_MAX),
                name="vat_rate_at_most_whole",
                violation_error_message=_("The rate cannot be above 100%, which is 10000."),
            ),
        ]

    def __str__(self) -> str:
        return formats.percent_text(self.basis_points, language=get_language())


class Particulars(models.Model):
    """How a seller or buyer is named on an invoice."""

    name = models.CharField(_("name of the person or company"), max_length=200, blank=True)
    economic_code = models.CharField(_("economic code"), max_length=16, blank=True)
    national_id = models.CharField(_("national ID"), max_length=11, blank=True)
    address = models.CharField(_("address"), max_length=500, blank=True)
    postal_code = models.CharField(_("postal code"), max_length=10, blank=True)

    class Meta:
        abstract = True


class SellerDetails(Particulars):
    """The operator as it stands on invoices from now on; one row. Issued invoices keep what they were issued with."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)

    class Meta:
        verbose_name = verbose_name_plural = _("seller on invoices")
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="seller_one_row")]

    def __str__(self) -> str:
        return self.name or str(_("not filled in yet"))


class BuyerDetails(Particulars):
    """What a user wants to stand on invoices; all of it optional."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, primary_key=True)

    class Meta:
        verbose_name = verbose_name_plural = _("buyer on invoices")

    def __str__(self) -> str:
        return self.name


class InvoiceCounter(models.Model):
    """The last number given out. Locked by the transaction that issues, so that none is left out or given twice."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    last_number = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1, last_number__gte=0), name="invoice_counter_one_row"),
        ]

    def __str__(self) -> str:
        return str(self.last_number)


class Invoice(models.Model):
    """The invoice of one credited top-up, with everybody's particulars as they were. Append-only."""

    number = models.BigIntegerField(_("number"), primary_key=True)
    topup = models.OneToOneField(
        "wallet.TopUp", verbose_name=_("top-up"), on_delete=models.PROTECT, related_name="invoice"
    )
    issued_at = models.DateTimeField(_("issued at"), default=timezone.now)
    seller_name = models.CharField(_("seller's name"), max_length=200, blank=True)
    seller_economic_code = models.CharField(_("seller's economic code"), max_length=16, blank=True)
    seller_national_id = models.CharField(_("seller's national id"), max_length=11, blank=True)
    seller_address = models.CharField(_("seller's address"), max_length=500, blank=True)
    seller_postal_code = models.CharField(_("seller's postal code"), max_length=10, blank=True)
    buyer_mobile = models.CharField(_("buyer's mobile number"), max_length=16)
    buyer_name = models.CharField(_("buyer's name"), max_length=200, blank=True)
    buyer_economic_code = models.CharField(_("buyer's economic code"), max_length=16, blank=True)
    buyer_national_id = models.CharField(_("buyer's national id"), max_length=11, blank=True)
    buyer_address = models.CharField(_("buyer's address"), max_length=500, blank=True)
    buyer_postal_code = models.CharField(_("buyer's postal code"), max_length=10, blank=True)
    net_micro = models.BigIntegerField(_("net amount"))
    vat_basis_points = models.PositiveIntegerField(_("VAT rate"))
    vat_micro = models.BigIntegerField(_("VAT"))
    total_micro = models.BigIntegerField(_("total"))

    class Meta:
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(number__gt=0), name="invoice_number_positive"),
            models.CheckConstraint(
                condition=Q(net_micro__gt=0, vat_micro__gte=0, total_micro=F("net_micro") + F("vat_micro")),
                name="invoice_adds_up",
            ),
        ]

    def __str__(self) -> str:
        return formats.digits_text(str(self.number), language=get_language())
