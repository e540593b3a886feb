"""Money that moves without payment or request: adjustments by admins, promo codes; and the alert when it runs low."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.decisions import Decision
from accounts.shared import formats


class Adjustment(Decision):
    """An admin's correction of a wallet, with its reason; its id is that of the journal transaction.

    What was asked for is never changed, and what was decided neither (the database refuses both).
    """

    class Kind(models.TextChoices):
        REFUND = "refund", _("refund")
        CORRECTION = "correction", _("correction")
        GIFT = "gift", _("gift credit")

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        BOOKED = "booked", _("booked")
        REJECTED = "rejected", _("rejected")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    wallet = models.ForeignKey(
        "wallet.Wallet", verbose_name=_("wallet"), on_delete=models.PROTECT, related_name="adjustments"
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    amount_micro = models.BigIntegerField(_("amount"))
    reason = models.CharField(_("reason"), max_length=500)
    needs_approval = models.BooleanField(_("needs a second admin"))
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.PENDING)

    class Meta:
        verbose_name = _("adjustment")
        verbose_name_plural = _("adjustments")
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [("approve_adjustment", _("Can approve or reject adjustments"))]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind="refund", amount_micro__lt=0)
                | Q(kind="gift", amount_micro__gt=0)
                | Q(kind="correction") & ~Q(amount_micro=0),
                name="adjustment_sign_fits_kind",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="adjustment_has_reason"),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("requested_by")),
                name="adjustment_two_people",
            ),
            models.CheckConstraint(
                condition=~Q(state="booked") | Q(needs_approval=False) | Q(approved_by__isnull=False),
                name="adjustment_approved_if_needed",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True, approved_by__isnull=True)
                | Q(state="booked", decided_at__isnull=False)
                | Q(state="rejected", decided_at__isnull=False, approved_by__isnull=True),
                name="adjustment_state_fits",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.id}"


class PromoCode(models.Model):
    """A code that gives credit: to each user once, `max_uses` times in all.

    One that `needs_approval` gives nothing before `approved_by` is set. `requested_by` is who made it or, since then,
    raised how often it may be used; None for those made before this was kept.
    """

    code = models.CharField(_("code"), max_length=40, help_text=_("Capitals and small letters are the same."))
    amount_micro = models.BigIntegerField(_("amount"))
    max_uses = models.PositiveIntegerField(
        _("uses at most"), null=True, blank=True, help_text=_("Empty: as many as there are users.")
    )
    uses = models.PositiveIntegerField(_("uses"), default=0, editable=False)
    expires_at = models.DateTimeField(_("expires at"))
    needs_approval = models.BooleanField(_("needs a second admin"), default=False, editable=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("requested by"),
        null=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
    )
    requested_at = models.DateTimeField(_("requested at"), default=timezone.now, editable=False)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("approved by"),
        null=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("promo code")
        verbose_name_plural = _("promo codes")
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["code"],
                name="promo_code_once",
                violation_error_message=_("There is such a code already."),
            ),
            models.CheckConstraint(condition=Q(code=Upper("code")), name="promo_code_in_capitals"),
            models.CheckConstraint(condition=~Q(code=""), name="promo_code_not_empty"),
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="promo_amount_positive"),
            models.CheckConstraint(
                condition=Q(max_uses__isnull=True) | Q(uses__lte=F("max_uses")), name="promo_not_used_up"
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("requested_by")),
                name="promo_two_people",
            ),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def waits(self) -> bool:
        return self.needs_approval and self.approved_by_id is None


class PromoRedemption(models.Model):
    """A user's one use of a code; its id is that of the journal transaction."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    promo_code = models.ForeignKey(
        PromoCode, verbose_name=_("promo code"), on_delete=models.PROTECT, related_name="redemptions"
    )
    wallet = models.ForeignKey("wallet.Wallet", on_delete=models.PROTECT, related_name="redemptions")
    amount_micro = models.BigIntegerField(_("amount"))
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("use of a promo code")
        verbose_name_plural = _("uses of promo codes")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["promo_code", "wallet"], name="promo_once_a_user"),
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="redemption_amount_positive"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class PromoTries(models.Model):
    """How many codes a user has tried since `since`: guessing is limited."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)
    since = models.DateTimeField()
    tries = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.pk}: {self.tries}"


class WalletAlert(models.Model):
    """A user's wish to be told when the wallet runs low. `alerted_at` is set from then until it is armed again.

    `sent_at` is when they were last told. It outlives the wish (no threshold), so that no change of it gives another.
    """

    wallet = models.OneToOneField(
        "wallet.Wallet", on_delete=models.CASCADE, primary_key=True, related_name="alert"
    )
    threshold_micro = models.BigIntegerField(null=True)
    alerted_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(threshold_micro__gt=0), name="alert_threshold_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} below {self.threshold_micro}"


class BalanceState(models.Model):
    """What the last look found of a wallet that a webhook wants to hear of."""

    class State(models.TextChoices):
        ENOUGH = "enough", _("enough")
        LOW = "low", _("low")
        EMPTY = "empty", _("empty")

    wallet = models.OneToOneField(
        "wallet.Wallet", on_delete=models.CASCADE, primary_key=True, related_name="balance_state"
    )
    state = models.CharField(max_length=6, choices=State.choices)
    changed_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=["enough", "low", "empty"]), name="balancestate_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.state}"


class SignUpCreditChange(Decision):
    """A tier's new sign-up credit, above what one admin may set; in force once another one has approved it.

    What was asked for is never changed, and what was decided neither (the database refuses both).
    """

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        DONE = "done", _("in force")
        REJECTED = "rejected", _("rejected")

    tier = models.ForeignKey(
        "accounts.Tier", verbose_name=_("tier"), on_delete=models.PROTECT, related_name="credit_changes"
    )
    amount_micro = models.BigIntegerField(_("amount"))
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.PENDING)

    class Meta:
        verbose_name = _("change of a sign-up credit")
        verbose_name_plural = _("changes of sign-up credits")
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="credit_change_amount_positive"),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("requested_by")),
                name="credit_change_two_people",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True, approved_by__isnull=True)
                | Q(state="done", decided_at__isnull=False, approved_by__isnull=False)
                | Q(state="rejected", decided_at__isnull=False, approved_by__isnull=True),
                name="credit_change_state_fits",
            ),
            models.UniqueConstraint(
                fields=["tier"], condition=Q(state="pending"), name="credit_change_one_waits"
            ),
        ]

    def __str__(self) -> str:
        return str(self.tier)


class SignUpCreditDay(models.Model):
    """What new accounts were given on one day in Tehran, and how many got nothing as the day's ceiling was reached.

    Sign-ups wait for each other at this row, so that the ceiling is exact.
    """

    day = models.DateField(_("day"), primary_key=True)
    given_micro = models.BigIntegerField(_("given"), default=0)
    refused = models.PositiveIntegerField(_("opened without"), default=0)

    class Meta:
        verbose_name = _("sign-up credit of a day")
        verbose_name_plural = _("sign-up credit by days")
        ordering: ClassVar = ["-day"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(given_micro__gte=0), name="credit_day_not_negative"),
        ]

    def __str__(self) -> str:
        return formats.day_text(self.day, language=get_language())
