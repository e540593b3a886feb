"""Payments by the time of their credit, and those under review: made while payments go on, so in no transaction."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("wallet", "0020_budget_marks")]

    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="topup",
            index=models.Index(
                condition=models.Q(("status", "credited")), fields=["credited_at"], name="topup_credited"
            ),
        ),
        AddIndexConcurrently(
            model_name="topup",
            index=models.Index(
                condition=models.Q(("status", "review")), fields=["created_at"], name="topup_under_review"
            ),
        ),
    ]
