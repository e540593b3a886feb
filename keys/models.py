"""API keys. The secret is shown once and never stored; its digest is what is looked up."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Regex
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

MODELS_MAX, NETWORKS_MAX = 100, 50
CIDR = r"^([0-9a-f.:]+/[0-9]{1,3}(,|$))*$"


class APIKey(models.Model):
    class Kind(models.TextChoices):
        STANDARD = "standard", _("made by its owner")
        SESSION = "session", _("of the playground")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.PROTECT, related_name="api_keys"
    )
    name = models.CharField(_("name"), max_length=80)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    last_four = models.CharField(_("last four"), max_length=4, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, editable=False)
    kind = models.CharField(
        _("kind"),
        max_length=8,
        choices=Kind.choices,
        default=Kind.STANDARD,
        db_default=Kind.STANDARD,
        editable=False,
    )
    expires_at = models.DateTimeField(_("expires at"), null=True, editable=False)
    # What the key may do. Empty lists allow everything; the lower of its own limit and its tier's holds.
    allowed_models = ArrayField(
        models.CharField(max_length=120),
        verbose_name=_("allowed models"),
        default=list,
        db_default=[],
        editable=False,
    )
    allowed_networks = ArrayField(
        models.CharField(max_length=43),
        verbose_name=_("allowed networks"),
        default=list,
        db_default=[],
        editable=False,
    )
    rpm = models.PositiveIntegerField(_("requests per minute"), null=True, editable=False)
    tpm = models.PositiveBigIntegerField(_("tokens per minute"), null=True, editable=False)
    concurrency = models.PositiveIntegerField(_("requests at once"), null=True, editable=False)
    # A row of the wallet app, which this app does not know: what the key spends counts towards it.
    budget_id = models.BigIntegerField(_("budget"), null=True, editable=False)
    # The key this one replaces; that one has an expiry or was revoked.
    replaces = models.ForeignKey(
        "self",
        verbose_name=_("replaces"),
        null=True,
        on_delete=models.PROTECT,
        related_name="replaced_by",
        db_index=False,
        editable=False,
    )
    # Which showing of the form made it, so that sending the same form again makes no second key.
    creation_token = models.UUIDField(null=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="apikey_has_name"),
            models.CheckConstraint(
                condition=Q(last_four__regex=r"^[0-9A-Za-z]{4}$"), name="apikey_last_four"
            ),
            models.UniqueConstraint(fields=["user", "creation_token"], name="apikey_created_once"),
            models.UniqueConstraint(
                fields=["user"], condition=Q(kind="session"), name="apikey_one_session_a_user"
            ),
            # A key of the playground is kept in a browser: it is never one for ever.
            models.CheckConstraint(
                condition=~Q(kind="session") | Q(expires_at__isnull=False), name="apikey_session_expires"
            ),
            models.UniqueConstraint(fields=["replaces"], name="apikey_replaced_once"),
            models.CheckConstraint(
                condition=Q(replaces__isnull=True) | ~Q(replaces=F("id")), name="apikey_replaces_another"
            ),
            models.CheckConstraint(condition=Q(rpm__isnull=True) | Q(rpm__gt=0), name="apikey_rpm_positive"),
            models.CheckConstraint(condition=Q(tpm__isnull=True) | Q(tpm__gt=0), name="apikey_tpm_positive"),
            models.CheckConstraint(
                condition=Q(concurrency__isnull=True) | Q(concurrency__gt=0),
                name="apikey_concurrency_positive",
            ),
            models.CheckConstraint(
                condition=Q(allowed_models__len__lte=MODELS_MAX), name="apikey_models_bounded"
            ),
            models.CheckConstraint(
                condition=Q(allowed_networks__len__lte=NETWORKS_MAX), name="apikey_networks_bounded"
            ),
            models.CheckConstraint(
                condition=Regex(
                    Func(
                        F("allowed_networks"),
                        Value(","),
                        function="array_to_string",
                        output_field=models.TextField(),
                    ),
                    CIDR,
                ),
                name="apikey_networks_are_cidr",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (hm-…{self.last_four})"
