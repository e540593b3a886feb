"""The state of each task, and who may see it."""

from typing import ClassVar

from django.db import migrations, models


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies: ClassVar = [("config", "0003_audit_log_by_role")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="TaskRun",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False, verbose_name="task")),
                ("run_id", models.UUIDField(null=True)),
                ("leased_until", models.DateTimeField(null=True)),
                ("began_at", models.DateTimeField(verbose_name="last begun")),
                ("ended_at", models.DateTimeField(null=True, verbose_name="last ended")),
                ("succeeded_at", models.DateTimeField(null=True, verbose_name="last success")),
                ("failed_at", models.DateTimeField(null=True, verbose_name="last failure")),
                ("seconds", models.FloatField(null=True, verbose_name="duration")),
                ("lag_seconds", models.FloatField(null=True, verbose_name="lag")),
                ("runs", models.PositiveBigIntegerField(db_default=0, default=0, verbose_name="runs")),
                ("failures", models.PositiveBigIntegerField(db_default=0, default=0, verbose_name="failures")),
                (
                    "failures_in_row",
                    models.PositiveBigIntegerField(db_default=0, default=0, verbose_name="failures in a row"),
                ),
                ("last_error", models.CharField(db_default="", default="", max_length=500, verbose_name="last error")),
            ],
            options={
                "verbose_name": "task",
                "verbose_name_plural": "tasks",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("leased_until__isnull", True), ("run_id__isnull", True))
                        | models.Q(("leased_until__isnull", False), ("run_id__isnull", False)),
                        name="taskrun_lease_has_a_run",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("failures__lte", models.F("runs")), ("failures_in_row__lte", models.F("failures"))
                        ),
                        name="taskrun_failures_within_runs",
                    ),
                ],
            },
        ),
        migrations.RunPython(make, migrations.RunPython.noop),
    ]
