"""API keys. The secret is shown once and never stored; its digest is what is looked up."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


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
        ]

    def __str__(self) -> str:
        return f"{self.name} (hm-…{self.last_four})"
