"""Money at rest: wallets, budgets, holds and the journal. Amounts are micro-Rial (10⁻⁶ IRR) in BIGINT.

Balances are written by `wallet.ledger.writer` and `wallet.ledger.reserving` alone.
"""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from wallet.ledger import periods


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
        indexes: ClassVar = [
            models.Index(
                fields=["frozen_at"], condition=Q(frozen_at__isnull=False), name="wallet_frozen_index"
            ),
        ]
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
    """How much of a wallet something may spend in a period, and how much it has spent; `limit` can change at any time.

    Nothing is held for it beyond the limit; lowered below what is spent already, it lets nothing more through.

    `spent` and `held` count everything since it was opened; what came before the present period is told by the
    figures named `before`, so that the difference is what the limit is for. A hold counts in the period in which it was
    placed: it is one from before if it was placed before `starts_at`. The row goes on to the next period with the first
    hold after `ends_at`.
    """

    class Period(models.TextChoices):
        FOREVER = periods.Period.FOREVER.value, _("in total")
        DAY = periods.Period.DAY.value, _("per day")
        WEEK = periods.Period.WEEK.value, _("per week")
        MONTH = periods.Period.MONTH.value, _("per month")

    wallet = models.ForeignKey(
        Wallet, verbose_name=_("wallet"), on_delete=models.PROTECT, related_name="budgets"
    )
    limit_micro = models.BigIntegerField(_("limit"))
    spent_micro = models.BigIntegerField(_("spent"), default=0)
    held_micro = models.BigIntegerField(_("held"), default=0)
    opened_at = models.DateTimeField(_("opened at"), default=timezone.now, editable=False)
    period = models.CharField(
        _("period"), max_length=8, choices=Period.choices, default=Period.FOREVER, db_default=Period.FOREVER
    )
    # NULL: since it was opened, and for ever.
    starts_at = models.DateTimeField(_("counts since"), null=True, editable=False)
    ends_at = models.DateTimeField(_("counts until"), null=True, editable=False)
    # Spent and still held by what was placed before this period.
    spent_before_micro = models.BigIntegerField(_("spent before"), default=0, db_default=0, editable=False)
    held_before_micro = models.BigIntegerField(_("held before"), default=0, db_default=0, editable=False)
    # Spent in the period before this one, whose streams may still need more.
    previous_spent_micro = models.BigIntegerField(
        _("spent in the previous period"), default=0, db_default=0, editable=False
    )
    # Whether its owner is told of its marks; those from before there were any stay silent.
    alerts = models.BooleanField(_("alerts"), default=True, db_default=False, editable=False)

    class Meta:
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(limit_micro__gte=0), name="budget_limit_not_negative"),
            models.CheckConstraint(condition=Q(spent_micro__gte=0), name="budget_spent_not_negative"),
            models.CheckConstraint(condition=Q(held_micro__gte=0), name="budget_held_not_negative"),
            models.CheckConstraint(
                condition=Q(period="forever", ends_at__isnull=True)
                | Q(
                    period__in=["day", "week", "month"],
                    starts_at__isnull=False,
                    ends_at__isnull=False,
                    ends_at__gt=F("starts_at"),
                ),
                name="budget_period_and_bounds",
            ),
            models.CheckConstraint(
                condition=Q(spent_before_micro__gte=0, spent_before_micro__lte=F("spent_micro")),
                name="budget_spent_since_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(held_before_micro__gte=0), name="budget_held_before_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(previous_spent_micro__gte=0, previous_spent_micro__lte=F("spent_before_micro")),
                name="budget_previous_is_before",
            ),
        ]

    def __str__(self) -> str:
        return f"budget {self.pk}"


class BudgetMark(models.Model):
    """A part of its limit that a budget has spent in a period: what makes one notice, told at `told_at`.

    Written by the settlement that reaches it.
    """

    budget = models.ForeignKey(
        Budget, on_delete=models.PROTECT, related_name="marks", db_constraint=False, db_index=False
    )
    starts_at = models.DateTimeField()
    percent = models.PositiveSmallIntegerField()
    reached_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(told_at__isnull=True), name="budgetmark_untold")
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["budget", "starts_at", "percent"], name="budgetmark_once"),
            models.CheckConstraint(condition=Q(percent__in=[80, 100]), name="budgetmark_percent_known"),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of budget {self.budget_id}"


class Hold(models.Model):
    """Money reserved for one request while it runs. Resolving a hold deletes it: captured, voided or expired."""

    id = models.UUIDField(primary_key=True, editable=False)
    # Placed by joining the locked wallets only, and check_ledger looks for others: the foreign key's own query for
    # each hold took 6 % of the ledger's throughput (bench/README.md). Holds are found by their
    # ids and their expiry; an index by wallet would cost each batch time, and be taken for the better one by some.
    wallet = models.ForeignKey(
        Wallet, on_delete=models.PROTECT, related_name="holds", db_constraint=False, db_index=False
    )
    budget = models.ForeignKey(
        Budget, null=True, on_delete=models.PROTECT, related_name="holds", db_constraint=False, db_index=False
    )
    # A second one, that of a project, say, which the budgets of its keys stand beside.
    shared_budget = models.ForeignKey(
        Budget, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    amount_micro = models.BigIntegerField()
    created_at = models.DateTimeField(_("created at"))
    expires_at = models.DateTimeField(_("expires at"))

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="hold_expiry")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micro__gte=0), name="hold_not_negative"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="hold_expires_later"),
            models.CheckConstraint(
                condition=Q(budget__isnull=True)
                | Q(shared_budget__isnull=True)
                | ~Q(budget=F("shared_budget")),
                name="hold_counts_once",
            ),
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
        Wallet,
        verbose_name=_("wallet"),
        null=True,
        on_delete=models.PROTECT,
        related_name="entries",
        db_index=False,  # journal_wallet_statement serves
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
            # Rows lie in the order of their time, so a summary of each few pages finds those of an hour, and costs an
            # insert nothing.
            BrinIndex(
                fields=["created_at"], pages_per_range=32, autosummarize=True, name="journal_created_brin"
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
