"""What makes an admin, and what admins decide on accounts: authenticators, changes of mobile numbers."""

import logging
import time
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django_otp.models import Device, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP

from accounts import secrets
from accounts.decisions import Decision
from accounts.shared import formats

logger = logging.getLogger(__name__)


class Authenticator(TimestampMixin, ThrottlingMixin, Device):
    """An authenticator app (TOTP, RFC 6238: six digits, 30 s), a device of django-otp.

    django-otp's own keeps the seed as plain text and shows it in the admin; here it is encrypted, and `admins.make` is
    the only one that ever sees it.
    """

    TOLERANCE = 1  # steps that a telephone's clock may be off

    seed_encrypted = models.BinaryField(editable=False)
    drift = models.SmallIntegerField(default=0, editable=False)
    last_step = models.BigIntegerField(default=-1, editable=False)  # a code opens once

    class Meta(Device.Meta):
        verbose_name = _("authenticator")
        verbose_name_plural = _("authenticators")
        constraints: ClassVar = [
            # Fernet's tokens begin with a version and a time: what a plain seed never does.
            models.CheckConstraint(
                condition=Q(seed_encrypted__gte=b"gAAAAA", seed_encrypted__lt=b"gAAAAB"),
                name="authenticator_seed_encrypted",
            ),
        ]

    def __str__(self) -> str:
        return str(self.user)

    def seed(self) -> bytes:
        """Raises secrets.Undecryptable."""
        return bytes.fromhex(secrets.decrypt(self.seed_encrypted))

    def verify_token(self, token: str) -> bool:
        is_allowed, _why_not = self.verify_is_allowed()
        if not is_allowed:
            return False
        try:
            totp = TOTP(self.seed(), drift=self.drift)
        except secrets.Undecryptable:
            logger.exception("authenticator unreadable", extra={"user_id": self.user_id})
            return False
        totp.time = time.time()
        is_code = len(token) == 6 and token.isascii() and token.isdecimal()
        if not is_code or not totp.verify(int(token), self.TOLERANCE, self.last_step + 1):
            self.throttle_increment(commit=True)
            return False
        self.last_step, self.drift = totp.t(), totp.drift
        self.throttle_reset(commit=False)
        self.set_last_used_timestamp(commit=False)
        self.save()
        return True

    def get_throttle_factor(self) -> int:
        return 1


class NumberChange(Decision):
    """A customer's new mobile number, asked for by one admin and approved by another.

    What was asked for is never changed, and what was decided neither (the database refuses both).
    """

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        DONE = "done", _("changed")
        REJECTED = "rejected", _("rejected")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.PROTECT,
        related_name="number_changes",
    )
    old_mobile = models.CharField(_("old number"), max_length=16)
    new_mobile = models.CharField(_("new number"), max_length=16)
    reason = models.CharField(_("reason"), max_length=500)
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.PENDING)

    class Meta:
        verbose_name = _("change of a mobile number")
        verbose_name_plural = _("changes of mobile numbers")
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [
            ("approve_numberchange", _("Can approve or reject changes of mobile numbers"))
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(new_mobile__regex=r"^\+98[0-9]{10}$"), name="number_change_iranian"
            ),
            models.CheckConstraint(condition=~Q(new_mobile=F("old_mobile")), name="number_change_changes"),
            models.CheckConstraint(condition=~Q(reason=""), name="number_change_has_reason"),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("requested_by")),
                name="number_change_two_people",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True, approved_by__isnull=True)
                | Q(state="done", decided_at__isnull=False, approved_by__isnull=False)
                | Q(state="rejected", decided_at__isnull=False, approved_by__isnull=True),
                name="number_change_state_fits",
            ),
            models.UniqueConstraint(
                fields=["user"], condition=Q(state="pending"), name="number_change_one_waits"
            ),
        ]

    def __str__(self) -> str:
        return formats.ltr_text(f"{self.old_mobile} → {self.new_mobile}", language=get_language())
