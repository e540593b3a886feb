"""Proofs of the books, and who may see them."""

from typing import ClassVar

from django.db import migrations, models


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies: ClassVar = [("config", "0007_roles_see_tiers")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="Proof",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateTimeField(unique=True, verbose_name="from")),
                ("until", models.DateTimeField(verbose_name="until")),
                ("made_at", models.DateTimeField(verbose_name="made")),
                ("seconds", models.FloatField(verbose_name="duration")),
                ("rules", models.PositiveSmallIntegerField(verbose_name="rules")),
                ("records", models.PositiveBigIntegerField(verbose_name="usage records")),
                ("cost_micro", models.PositiveBigIntegerField(verbose_name="billed for usage")),
                ("booked_micro", models.BigIntegerField(verbose_name="booked in the journal")),
                ("upstream_cost_micro", models.PositiveBigIntegerField()),
                ("upstream_cost_nanodollars", models.PositiveBigIntegerField()),
                ("faults", models.PositiveIntegerField(verbose_name="faults")),
                ("said", models.TextField(db_default="", default="", verbose_name="what was wrong")),
            ],
            options={
                "verbose_name": "proof of the books",
                "verbose_name_plural": "proofs of the books",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("until__gt", models.F("since"))), name="proof_of_some_time"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("faults", 0), ("said", ""))
                        | (models.Q(("faults__gt", 0)) & ~models.Q(("said", ""))),
                        name="proof_says_its_faults",
                    ),
                ],
            },
        ),
        migrations.RunPython(make, migrations.RunPython.noop),
    ]
