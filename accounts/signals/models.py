"""Webhooks: where an account is told of its events, the outbox of events, and how far each delivery has got."""

from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.shared import formats

ADDRESS_MAX_LENGTH = 500
ENCRYPTED = {"gte": b"gAAAAA", "lt": b"gAAAAB"}  # Fernet's tokens begin with a version and a time


class WebhookEndpoint(models.Model):
    """An address of a user's that is told of events, in order, each signed with the endpoint's secret.

    While it is paused, its events wait. Once it is disabled, because it is gone or has failed for days, it is told of
    none until its owner resumes it.
    """

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        PAUSED = "paused", _("paused")
        DISABLED = "disabled", _("disabled")

    class Because(models.TextChoices):
        GONE = "gone", _("it answered 410 Gone")
        FAILING = "failing", _("it has failed for days")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="webhook_endpoints",
        db_index=False,  # webhookendpoint_address_once serves
    )
    address = models.CharField(_("address"), max_length=ADDRESS_MAX_LENGTH)
    events = ArrayField(models.CharField(max_length=40), verbose_name=_("events"))
    secret_encrypted = models.BinaryField(editable=False)
    # The secret before this one signs too, until then.
    previous_secret_encrypted = models.BinaryField(null=True, editable=False)
    previous_secret_until = models.DateTimeField(_("previous secret valid until"), null=True, editable=False)
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.ACTIVE)
    disabled_because = models.CharField(
        _("disabled because"), max_length=8, choices=Because.choices, blank=True
    )
    # Of the first failure since the last success.
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    # One worker at a time: the lease of the last one that had it.
    claimed_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(
                fields=["claimed_until", "id"], condition=Q(state="active"), name="webhookendpoint_active"
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "address"], name="webhookendpoint_address_once"),
            models.CheckConstraint(
                condition=Q(address__regex=r"^https?://[^[:space:]]+$"),
                name="webhookendpoint_address_is_http",
            ),
            models.CheckConstraint(condition=Q(events__len__gte=1), name="webhookendpoint_wants_events"),
            models.CheckConstraint(
                condition=Q(secret_encrypted__gte=ENCRYPTED["gte"], secret_encrypted__lt=ENCRYPTED["lt"]),
                name="webhookendpoint_secret_encrypted",
            ),
            models.CheckConstraint(
                condition=Q(previous_secret_encrypted__isnull=True, previous_secret_until__isnull=True)
                | Q(
                    previous_secret_until__isnull=False,
                    previous_secret_encrypted__isnull=False,
                    previous_secret_encrypted__gte=ENCRYPTED["gte"],
                    previous_secret_encrypted__lt=ENCRYPTED["lt"],
                ),
                name="webhookendpoint_previous_secret",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["active", "paused"], disabled_because="")
                | Q(state="disabled", disabled_because__in=["gone", "failing"]),
                name="webhookendpoint_disabled_because",
            ),
        ]

    def __str__(self) -> str:
        return formats.ltr_text(self.shown_address, language=get_language())

    @property
    def shown_address(self) -> str:
        """For other eyes than the owner's: what follows the host can be a secret of the receiver's."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}/…"


class WebhookEvent(models.Model):
    """Something that happened to a user, or to all (no user), written in the transaction that made it happen.

    `id` is the `webhook-id`, the same at each attempt; `data` is what is sent. There are only events that an endpoint
    wanted when they happened.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        on_delete=models.CASCADE,
        related_name="webhook_events",
        db_index=False,  # webhookevent_once serves those that name an occurrence, and nothing looks for others
    )
    event = models.CharField(_("event"), max_length=40)
    data = models.JSONField(_("data"))
    dedup = models.CharField(_("occurrence"), max_length=120, blank=True)
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        indexes: ClassVar = [models.Index(fields=["created_at"], name="webhookevent_created")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "event", "dedup"],
                condition=~Q(dedup=""),
                nulls_distinct=False,
                name="webhookevent_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.id}"


class WebhookDelivery(models.Model):
    """One event for one endpoint. Ids order an endpoint's deliveries: none is sent while an earlier one waits."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        GIVEN_UP = "given_up", _("given up")

    class Error(models.TextChoices):
        """What the owner is told instead of an error's own text, which can name what only this network knows."""

        ADDRESS = "address", _("the address is not allowed")
        UNRESOLVED = "unresolved", _("the host name was not found")
        CONNECT = "connect", _("no connection")
        TLS = "tls", _("the certificate was not accepted")
        TIMEOUT = "timeout", _("no answer in time")
        PROTOCOL = "protocol", _("the answer was not HTTP")
        STATUS = "status", _("the answer's status was not 2xx")
        SECRET = "secret", _("the secret cannot be read")

    endpoint = models.ForeignKey(
        WebhookEndpoint,
        verbose_name=_("endpoint"),
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,
    )
    event = models.ForeignKey(
        WebhookEvent,
        verbose_name=_("event"),
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,
    )
    state = models.CharField(_("state"), max_length=9, choices=State.choices, default=State.WAITING)
    queued_at = models.DateTimeField(_("queued at"))  # the 24 hours of its attempts begin here
    next_at = models.DateTimeField(_("next attempt"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    attempted_at = models.DateTimeField(_("last attempt"), null=True)
    delivered_at = models.DateTimeField(_("delivered at"), null=True)
    status = models.PositiveSmallIntegerField(_("status"), null=True)
    error = models.CharField(_("error"), max_length=12, choices=Error.choices, blank=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        indexes: ClassVar = [
            models.Index(fields=["endpoint", "-id"], name="webhookdelivery_listing"),
            models.Index(
                fields=["endpoint", "id"], condition=Q(state="waiting"), name="webhookdelivery_waiting"
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhookdelivery_once"),
            models.CheckConstraint(
                condition=Q(state="waiting", next_at__isnull=False, delivered_at__isnull=True)
                | Q(state="delivered", next_at__isnull=True, delivered_at__isnull=False)
                | Q(state="given_up", next_at__isnull=True, delivered_at__isnull=True),
                name="webhookdelivery_state",
            ),
            models.CheckConstraint(
                condition=Q(attempts=0, attempted_at__isnull=True)
                | Q(attempts__gt=0, attempted_at__isnull=False, attempted_at__gte=F("queued_at")),
                name="webhookdelivery_attempted",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} → {self.endpoint_id}"
