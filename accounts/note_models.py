"""What admins write down about a person, and why one was blocked. A trigger keeps the table append-only."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

TEXT_MAX_LENGTH = 2_000


class UserNote(models.Model):
    class Kind(models.TextChoices):
        NOTE = "note", _("note")
        BLOCKED = "blocked", pgettext_lazy("what was done with an account", "blocked")
        UNBLOCKED = "unblocked", pgettext_lazy("what was done with an account", "unblocked")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.PROTECT,
        related_name="admin_notes",
        db_index=False,
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("author"),
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.NOTE)
    text = models.CharField(_("text"), max_length=TEXT_MAX_LENGTH)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("note on a person")
        verbose_name_plural = _("notes on people")
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["user", "-id"], name="usernote_of_user")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(text=""), name="usernote_says_something"),
            models.CheckConstraint(
                condition=Q(kind__in=["note", "blocked", "unblocked"]), name="usernote_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_kind_display()}"
