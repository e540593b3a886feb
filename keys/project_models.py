"""Projects: keys that belong together, paid by their owner's wallet, and the people who work with them."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.rules import NAME_MAX_LENGTH


class Project(models.Model):
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), on_delete=models.PROTECT, related_name="projects"
    )
    name = models.CharField(_("name"), max_length=NAME_MAX_LENGTH)
    # A row of the wallet app, as of keys: what all keys of the project spend counts towards it.
    budget_id = models.BigIntegerField(_("budget"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    closed_at = models.DateTimeField(_("closed at"), null=True, editable=False)
    # Which showing of the form made it.
    creation_token = models.UUIDField(null=True, editable=False)

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="project_has_name"),
            models.UniqueConstraint(fields=["owner", "creation_token"], name="project_created_once"),
        ]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """Somebody beside the owner, invited by mobile number; `user` is who accepted.

    Whether an account has that number is looked up by nobody but its holder. A refusal is kept from the owner: it
    would tell the same.
    """

    class Role(models.TextChoices):
        MEMBER = "member", _("member")
        VIEWER = "viewer", _("viewer")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="members", db_index=False)
    mobile = models.CharField(_("mobile number"), max_length=16, db_index=True)
    role = models.CharField(_("role"), max_length=8, choices=Role.choices)
    invited_at = models.DateTimeField(default=timezone.now)
    refused_at = models.DateTimeField(null=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="memberships"
    )
    accepted_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "mobile"], name="member_invited_once"),
            models.UniqueConstraint(fields=["project", "user"], name="member_once"),
            models.CheckConstraint(condition=Q(role__in=["member", "viewer"]), name="member_role_known"),
            models.CheckConstraint(condition=~Q(mobile=""), name="member_has_mobile"),
            models.CheckConstraint(
                condition=Q(user__isnull=True, accepted_at__isnull=True)
                | Q(user__isnull=False, accepted_at__isnull=False, refused_at__isnull=True),
                name="member_accepted_by_user",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.mobile} of {self.project_id}"
