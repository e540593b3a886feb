"""Money at rest: wallets, holds, the journal and top-ups. Amounts are micro-Rial (10⁻⁶ IRR) in BIGINT.

Balances are written by `wallet.ledger` alone.
"""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from wallet import credit_models, invoice_models  # noqa: F401 - Django finds an app's models through this module


class Wallet(models.Model):
    """A user's money: `posted` is what the journal says, `held` what open holds reserve of it."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.PROTECT, primary_key=True
    )
    posted_micro = models.BigIntegerField(_("posted"), default=0)
    held_micro = models.BigIntegerField(_("held"), default=0)
    opened_at = models.DateTimeField(_("opened at"), default=timezone.now, editable=False)
    frozen_at = models.DateTimeField(_("frozen at"), null=True, editable=False)
    frozen_because = models.CharField(_("frozen because"), max_length=200, blank=True, editable=False)

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(held_micro__gte=0), name="wallet_held_not_negative"),
            models.CheckConstraint(
                condition=Q(posted_micro__gte=F("held_micro")), name="wallet_available_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"wallet {self.pk}"

    @property
    def available_micro(self) -> int:
        return self.posted_micro - self.held_micro


class Budget(models.Model):
    """A part of a wallet that something may spend in all, and how far it has: `limit` can change at any time.

    Nothing is held for it beyond the limit; lowered below what is spent already, it lets nothing more through.
    """

    wallet = models.ForeignKey(
        Wallet, verbose_name=_("wallet"), on_delete=models.PROTECT, related_name="budgets"
    )
    limit_micro = models.BigIntegerField(_("limit"))
    spent_micro = models.BigIntegerField(_("spent"), default=0)
    held_micro = models.BigIntegerField(_("held"), default=0)
    opened_at = models.DateTimeField(_("opened at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(limit_micro__gte=0), name="budget_limit_not_negative"),
            models.CheckConstraint(condition=Q(spent_micro__gte=0), name="budget_spent_not_negative"),
            models.CheckConstraint(condition=Q(held_micro__gte=0), name="budget_held_not_negative"),
        ]

    def __str__(self) -> str:
        return f"budget {self.pk}"


class Hold(models.Model):
    """Money reserved for one request while it runs. Resolving a hold deletes it: captured, voided or expired."""

    id = models.UUIDField(primary_key=True, editable=False)
    # Placed by joining the locked wallets only, and check_ledger looks for others: the foreign key's own query for
    # each hold took 6 % of the ledger's throughput (bench/README.md).
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="holds", db_constraint=False)
    budget = models.ForeignKey(
        Budget, null=True, on_delete=models.PROTECT, related_name="holds", db_constraint=False, db_index=False
    )
    amount_micro = models.BigIntegerField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="hold_expiry")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micro__gte=0), name="hold_not_negative"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="hold_expires_later"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class JournalEntry(models.Model):
    """One leg of a journal transaction; the legs of a transaction sum to zero and none is ever changed.

    `transaction_id` is the id of what caused it (the request, the top-up …): with `(transaction_id, account)`
    unique, no cause can be booked twice. A positive amount raises the account. `balance_micro` is the wallet's
    posted balance after the entry, so that its history can be verified row by row.
    """

    class Account(models.TextChoices):
        WALLET = "wallet", _("wallet")
        REVENUE = "revenue", _("revenue")
        GATEWAY = "gateway", _("payment gateway")
        GIFT = "gift", _("gift credit")
        CORRECTION = "correction", _("correction")
        VAT = "vat", _("VAT")
        REFUND = "refund", _("refund")

    class Kind(models.TextChoices):
        COMPLETION = "completion", _("usage")
        TOPUP = "topup", _("top-up")
        SIGN_UP_CREDIT = "sign_up_credit", _("sign-up credit")
        OPERATOR_CREDIT = "operator_credit", _("credit by the operator")
        REFUND = "refund", _("refund")
        CORRECTION = "correction", _("correction")
        GIFT = "gift", _("gift credit")
        PROMO = "promo", _("promo code")

    transaction_id = models.UUIDField(_("transaction"))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    account = models.CharField(_("account"), max_length=20, choices=Account.choices)
    wallet = models.ForeignKey(
        Wallet, verbose_name=_("wallet"), null=True, on_delete=models.PROTECT, related_name="entries"
    )
    amount_micro = models.BigIntegerField(_("amount"))
    balance_micro = models.BigIntegerField(_("balance"), null=True)
    created_at = models.DateTimeField(_("time"))

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal entries")
        indexes: ClassVar = [
            models.Index(
                fields=["wallet", "-id"], condition=Q(wallet__isnull=False), name="journal_wallet_statement"
            ),
            # Finds a few top-ups among millions of completions, which do not pay for it.
            models.Index(
                fields=["wallet", "kind", "-id"],
                condition=Q(wallet__isnull=False) & ~Q(kind="completion"),
                name="journal_wallet_rare_kinds",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["transaction_id", "account"], name="journal_booked_once"),
            models.CheckConstraint(
                condition=Q(
                    account="wallet", wallet__isnull=False, balance_micro__isnull=False, balance_micro__gte=0
                )
                | (~Q(account="wallet") & Q(wallet__isnull=True, balance_micro__isnull=True)),
                name="journal_wallet_and_balance",
            ),
            models.CheckConstraint(condition=~Q(amount_micro=0), name="journal_amount_not_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.transaction_id}"


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
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="topups")
    gateway = models.CharField(_("gateway"), max_length=20)
    amount_micro = models.BigIntegerField(_("amount"))
    vat_micro = models.BigIntegerField(_("VAT"), default=0, db_default=0)
    vat_basis_points = models.PositiveIntegerField(_("VAT rate"), default=0, db_default=0)
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.CREATED)
    authority = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULL until the gateway gives one
    ref_id = models.CharField(_("reference"), max_length=64, null=True)  # noqa: DJ001 - likewise
    card_pan = models.CharField(_("card"), max_length=19, default="", db_default="")  # masked; for support
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    returned_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    credited_at = models.DateTimeField(null=True)

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
        return f"{self.id} {self.status}"

    @property
    def payable_micro(self) -> int:
        """What the gateway is asked for."""
        return self.amount_micro + self.vat_micro


class GatewayChoice(models.Model):
    """An admin's choice among the gateways that the settings know; one row at most, and without it the settings rule.

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
