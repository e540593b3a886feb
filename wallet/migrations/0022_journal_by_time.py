"""The journal's rows of an hour are found without reading all of it. Built beside running requests."""

from typing import ClassVar

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies: ClassVar = [("wallet", "0021_topups_by_time")]
    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="journalentry",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["created_at"], name="journal_created_brin", pages_per_range=32
            ),
        ),
    ]
