"""API keys, keys that manage them, and what was done to either. A secret is shown once and never stored; its digest is
what is looked up.
"""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Regex
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from keys.override_models import LimitOverride, OverrideModelLimit
from keys.project_models import Member, Project
from keys.rules import MODELS_MAX, NAME_MAX_LENGTH, NETWORKS_MAX

__all__ = [
    "APIKey",
    "AdminKey",
    "KeyChange",
    "LimitOverride",
    "Member",
    "OverrideModelLimit",
    "Project",
    "StoredAnswer",
]

CIDR = r"^([0-9a-f.:]+/[0-9]{1,3}(,|$))*$"
LAST_FOUR = r"^[0-9A-Za-z]{4}$"


def _networks_are_cidr() -> Regex:
    texts = Func(
        F("allowed_networks"), Value(","), function="array_to_string", output_field=models.TextField()
    )
    return Regex(texts, CIDR)


class APIKey(models.Model):
    class Kind(models.TextChoices):
        STANDARD = "standard", _("made by its owner")
        SESSION = "session", _("of the playground")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.PROTECT, related_name="api_keys"
    )
    name = models.CharField(_("name"), max_length=NAME_MAX_LENGTH)
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
    # What all keys of the project spend counts towards its budget too. Such a key is its owner's like any other;
    # `created_by` is the member who made it (NULL: the owner).
    project = models.ForeignKey(
        Project,
        verbose_name=_("project"),
        null=True,
        on_delete=models.PROTECT,
        related_name="keys",
        db_index=False,
        editable=False,
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        editable=False,
    )
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
        indexes: ClassVar = [
            models.Index(
                fields=["project", "-id"], condition=Q(project__isnull=False), name="apikey_of_project"
            ),
            models.Index(fields=["last_four"], name="apikey_last_four_index"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="apikey_has_name"),
            models.CheckConstraint(condition=Q(last_four__regex=LAST_FOUR), name="apikey_last_four"),
            models.UniqueConstraint(fields=["user", "creation_token"], name="apikey_created_once"),
            models.UniqueConstraint(
                fields=["user"], condition=Q(kind="session"), name="apikey_one_session_a_user"
            ),
            # A key of the playground is kept in a browser: it is never one for ever.
            models.CheckConstraint(
                condition=~Q(kind="session") | Q(expires_at__isnull=False), name="apikey_session_expires"
            ),
            models.CheckConstraint(
                condition=Q(project__isnull=True, created_by__isnull=True)
                | Q(project__isnull=False, kind="standard"),
                name="apikey_of_project_is_standard",
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
            models.CheckConstraint(condition=_networks_are_cidr(), name="apikey_networks_are_cidr"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (hm-…{self.last_four})"


class AdminKey(models.Model):
    """A key for the management API. It calls no model, so it has no limits, no cap and no place among API keys."""

    class Scope(models.TextChoices):
        READ_KEYS = "keys:read", _("see your keys")
        WRITE_KEYS = "keys:write", _("create, change, replace and revoke your keys")
        READ_USAGE = "usage:read", _("see your balance, statement and usage")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.PROTECT, related_name="admin_keys"
    )
    name = models.CharField(_("name"), max_length=NAME_MAX_LENGTH)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    last_four = models.CharField(_("last four"), max_length=4, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices), verbose_name=_("scopes"))
    allowed_networks = ArrayField(
        models.CharField(max_length=43), verbose_name=_("allowed networks"), default=list
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, editable=False)
    # Which showing of the form made it, so that sending the same form again makes no second key.
    creation_token = models.UUIDField(editable=False)

    class Meta:
        verbose_name = _("admin key")
        verbose_name_plural = _("admin keys")
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["last_four"], name="adminkey_last_four_index")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="adminkey_has_name"),
            models.CheckConstraint(condition=Q(last_four__regex=LAST_FOUR), name="adminkey_last_four"),
            models.UniqueConstraint(fields=["user", "creation_token"], name="adminkey_created_once"),
            models.CheckConstraint(
                condition=Q(scopes__len__gt=0)
                & Q(scopes__contained_by=["keys:read", "keys:write", "usage:read"]),
                name="adminkey_scopes_known",
            ),
            models.CheckConstraint(
                condition=Q(allowed_networks__len__lte=NETWORKS_MAX), name="adminkey_networks_bounded"
            ),
            models.CheckConstraint(condition=_networks_are_cidr(), name="adminkey_networks_are_cidr"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (hm-admin-…{self.last_four})"


class KeyChange(models.Model):
    """One thing that was done to a key, an admin key or a project. A trigger keeps the table append-only."""

    class Subject(models.TextChoices):
        KEY = "key", _("API key")
        ADMIN_KEY = "admin_key", _("admin key")
        PROJECT = "project", _("project")

    class Action(models.TextChoices):
        CREATED = "created", pgettext_lazy("what was done", "created")
        CHANGED = "changed", pgettext_lazy("what was done", "changed")
        ROTATED = "rotated", pgettext_lazy("what was done", "replaced")
        REVOKED = "revoked", pgettext_lazy("what was done", "revoked")

    class Actor(models.TextChoices):
        DASHBOARD = "dashboard", _("in the dashboard")
        ADMIN_KEY = "admin_key", _("by an admin key")
        STAFF = "staff", _("by support")
        OPERATOR = "operator", _("by the operator")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    at = models.DateTimeField(default=timezone.now)
    subject = models.CharField(max_length=10, choices=Subject.choices)
    subject_id = models.BigIntegerField()
    # As they were then.
    name = models.CharField(max_length=NAME_MAX_LENGTH)
    last_four = models.CharField(max_length=4, blank=True)
    action = models.CharField(max_length=10, choices=Action.choices)
    changes = models.JSONField(default=dict)  # field: [before, after]
    actor = models.CharField(max_length=10, choices=Actor.choices)
    actor_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    actor_key = models.ForeignKey(
        AdminKey, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    session = models.CharField(max_length=32, blank=True)  # `accounts.sessions` names it so
    address = models.GenericIPAddressField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["user", "-id"], name="keychange_of_user")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(actor__in=["dashboard", "staff"], actor_user__isnull=False, actor_key=None)
                | Q(actor="admin_key", actor_user=None, actor_key__isnull=False)
                | Q(actor="operator", actor_user=None, actor_key=None),
                name="keychange_has_its_actor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_subject_display()} {self.subject_id} {self.get_action_display()}"


class StoredAnswer(models.Model):
    """What a change that an admin key asked for under an `Idempotency-Key` was answered; it may hold a new secret."""

    admin_key = models.ForeignKey(AdminKey, on_delete=models.CASCADE, related_name="+", db_index=False)
    idempotency_key = models.CharField(max_length=255)
    request_digest = models.BinaryField(max_length=32)
    answer_encrypted = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["admin_key", "idempotency_key"], name="storedanswer_once"),
        ]

    def __str__(self) -> str:
        return self.idempotency_key
