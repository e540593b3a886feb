"""Money on its way in: top-ups, and which gateway takes them. Amounts are micro-Rial in BIGINT."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class TopUp(models.Model):
    """One try to pay money in. The amounts are fixed here, before the payer leaves for the gateway.

    `amount_micro` is what the wallet gets; the payer pays `vat_micro` on top of it.
    """

    class Status(models.TextChoices):
        CREATED = "created", _("being prepared")
        REDIRECTED = "redirected", _("waiting for the payment")
        RETURNED = "returned", _("being verified")
        VERIFYING = "verifying", _("being verified")
        CREDITED = "credited", _("credited")
        FAILED = "failed", _("not paid")
        EXPIRED = "expired", _("expired")
        REVIEW = "review", _("under review")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.PROTECT, related_name="topups"
    )
    gateway = models.CharField(_("gateway"), max_length=20)
    amount_micro = models.BigIntegerField(_("amount"))
    vat_micro = models.BigIntegerField(_("VAT"), default=0, db_default=0)
    vat_basis_points = models.PositiveIntegerField(_("VAT rate"), default=0, db_default=0)
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.CREATED)
    authority = models.CharField(_("gateway's id"), max_length=64, null=True)  # noqa: DJ001 - NULL until the gateway gives one
    ref_id = models.CharField(_("reference"), max_length=64, null=True)  # noqa: DJ001 - likewise
    card_pan = models.CharField(_("card"), max_length=19, default="", db_default="")  # masked; for support
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    returned_at = models.DateTimeField(_("came back at"), null=True)
    claimed_at = models.DateTimeField(_("last asked at"), null=True)
    credited_at = models.DateTimeField(_("credited at"), null=True)

    class Meta:
        verbose_name = _("top-up")
        verbose_name_plural = _("top-ups")
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["user", "-created_at"], name="topup_user_recent"),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["created", "redirected", "returned", "verifying"]),
                name="topup_unfinished",
            ),
            models.Index(fields=["credited_at"], condition=Q(status="credited"), name="topup_credited"),
            models.Index(fields=["created_at"], condition=Q(status="review"), name="topup_under_review"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["gateway", "authority"], name="topup_authority_once"),
            models.UniqueConstraint(fields=["gateway", "ref_id"], name="topup_ref_id_once"),
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="topup_amount_positive"),
            models.CheckConstraint(condition=Q(vat_micro__gte=0), name="topup_vat_not_negative"),
            models.CheckConstraint(
                condition=~Q(status="credited") | Q(credited_at__isnull=False, ref_id__isnull=False),
                name="topup_credited_has_reference",
            ),
            models.CheckConstraint(
                condition=~Q(status="verifying") | Q(claimed_at__isnull=False, authority__isnull=False),
                name="topup_verifying_is_claimed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.get_status_display()}"

    @property
    def payable_micro(self) -> int:
        """What the gateway is asked for."""
        return self.amount_micro + self.vat_micro


class GatewayChoice(models.Model):
    """An admin's choice among the gateways that the settings know; at most one row, without which the settings decide.

    Top-ups that were started keep the gateway that they were started with.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    gateway = models.CharField(
        _("gateway of new payments"),
        max_length=20,
        blank=True,
        help_text=_("Payments that were started before stay with the gateway that they were started with."),
    )

    class Meta:
        verbose_name = _("payment gateway")
        verbose_name_plural = _("payment gateway")
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="gateway_choice_is_one")]

    def __str__(self) -> str:
        return self.gateway


class SandboxPayment(models.Model):
    """The sandbox gateway's own book: what was asked of it and what the payer did on its page."""

    class Status(models.TextChoices):
        OPEN = "open", "open"
        PAID = "paid", "paid"
        CANCELLED = "cancelled", "cancelled"

    authority = models.CharField(primary_key=True, max_length=64, editable=False)
    amount_micro = models.BigIntegerField()
    callback_url = models.CharField(max_length=500)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    ref_id = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001 - NULL until it is paid
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    verified_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status="paid", ref_id__isnull=False)
                | (~Q(status="paid") & Q(ref_id__isnull=True, verified_at__isnull=True)),
                name="sandbox_paid_has_reference",
            ),
        ]

    def __str__(self) -> str:
        return self.authority
