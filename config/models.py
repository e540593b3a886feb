"""What the installation knows of its own work: the state of each task, and the nightly proofs of the books."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.shared import formats

ERROR_MAX = 500


class TaskRun(models.Model):
    """One task of the schedule with its arguments: the run that has it now, and what became of those before.

    Written by `config.tasks.runs` alone. One row per task, so that there are as many as the schedule has entries.
    """

    name = models.CharField(_("task"), primary_key=True, max_length=200)
    # Celery's id of the run that is under way, which has the task to itself until then; NULL: none is.
    run_id = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    began_at = models.DateTimeField(_("last begun"))
    ended_at = models.DateTimeField(_("last ended"), null=True)
    succeeded_at = models.DateTimeField(_("last success"), null=True)
    failed_at = models.DateTimeField(_("last failure"), null=True)
    # Of the last run that ended.
    seconds = models.FloatField(_("duration"), null=True)
    # From beat's message to the last beginning.
    lag_seconds = models.FloatField(_("lag"), null=True)
    runs = models.PositiveBigIntegerField(_("runs"), default=0, db_default=0)
    failures = models.PositiveBigIntegerField(_("failures"), default=0, db_default=0)
    failures_in_row = models.PositiveBigIntegerField(_("failures in a row"), default=0, db_default=0)
    last_error = models.CharField(_("last error"), max_length=ERROR_MAX, default="", db_default="")

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(run_id__isnull=True, leased_until__isnull=True)
                | Q(run_id__isnull=False, leased_until__isnull=False),
                name="taskrun_lease_has_a_run",
            ),
            models.CheckConstraint(
                condition=Q(failures__lte=models.F("runs")) & Q(failures_in_row__lte=models.F("failures")),
                name="taskrun_failures_within_runs",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Proof(models.Model):
    """One proof that the books of a day add up (`proxy.usage.proving`): what was looked at, and what was wrong."""

    since = models.DateTimeField(_("from"), unique=True)
    until = models.DateTimeField(_("until"))
    made_at = models.DateTimeField(_("made"))
    seconds = models.FloatField(_("duration"))
    rules = models.PositiveSmallIntegerField(_("rules"))
    records = models.PositiveBigIntegerField(_("usage records"))
    cost_micro = models.PositiveBigIntegerField(_("billed for usage"))
    booked_micro = models.BigIntegerField(_("booked in the journal"))
    upstream_cost_micro = models.PositiveBigIntegerField()
    upstream_cost_nanodollars = models.PositiveBigIntegerField()
    faults = models.PositiveIntegerField(_("faults"))
    # The first of them, a line each.
    said = models.TextField(_("what was wrong"), default="", db_default="")

    class Meta:
        verbose_name = _("proof of the books")
        verbose_name_plural = _("proofs of the books")
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(until__gt=models.F("since")), name="proof_of_some_time"),
            models.CheckConstraint(
                condition=Q(faults=0, said="") | (Q(faults__gt=0) & ~Q(said="")), name="proof_says_its_faults"
            ),
        ]

    def __str__(self) -> str:
        return formats.date_text(self.since, language=get_language())
