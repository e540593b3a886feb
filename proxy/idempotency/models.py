"""Requests with an Idempotency-Key, and the answers that are kept for repeats of them."""

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

DIGEST_BYTES = 32
HOURS_MAX = 24


def _is_digest(name: str) -> Exact:
    length = Func(F(name), function="octet_length", output_field=models.IntegerField())
    return Exact(length, DIGEST_BYTES)


class IdempotentRequest(models.Model):
    """Which request an account's Idempotency-Key stands for; how that one ended is told by its hold and usage record.

    Written once its hold is in the wallet, by statements of proxy.idempotency.claims alone. Of the key and of the body
    only keyed digests are known. `alive_until`: the process that serves it renews it; once it lies in the past, that
    process is dead.
    """

    user_id = models.BigIntegerField()
    key_digest = models.BinaryField()
    body_digest = models.BinaryField()
    request_id = models.UUIDField()
    claimed_at = models.DateTimeField()
    alive_until = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["claimed_at"], name="idempotency_claimed_at")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user_id", "key_digest"], name="idempotency_key_once"),
            models.CheckConstraint(condition=Q(_is_digest("key_digest")), name="idempotency_key_is_digest"),
            models.CheckConstraint(condition=Q(_is_digest("body_digest")), name="idempotency_body_is_digest"),
        ]

    def __str__(self) -> str:
        return str(self.request_id)


class AnswerKeeping(models.Model):
    """An account that has chosen to have answers kept for repeats, and for how long; without a row, none are."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, primary_key=True
    )
    hours = models.PositiveSmallIntegerField(_("hours"))
    since = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(hours__range=(1, HOURS_MAX)), name="answer_keeping_hours")
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.hours} h"


class KeptAnswer(models.Model):
    """An answer as it left, encrypted (proxy.idempotency.sealing). `size` is what it counts for its account."""

    request_id = models.UUIDField(primary_key=True, editable=False)
    user_id = models.BigIntegerField()
    kept_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    size = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], name="kept_answer_expiry"),
            models.Index(fields=["user_id"], include=["expires_at", "size"], name="kept_answer_of_user"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("kept_at"))
                & Q(expires_at__lte=F("kept_at") + timedelta(hours=HOURS_MAX)),
                name="kept_answer_at_most_a_day",
            ),
        ]

    def __str__(self) -> str:
        return str(self.request_id)
