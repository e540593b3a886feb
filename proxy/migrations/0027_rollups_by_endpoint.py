"""Roll-ups tell endpoints apart, in a table of its own; and a table of days by end user.

The table of before stays as it is for processes of before, which know it by its unique key, and goes with a later
version. What it holds is copied: all of it was chat, up to the first record of another endpoint. From there on the
task sums anew, and pages read the records meanwhile.
"""

from typing import ClassVar

import django.contrib.postgres.fields
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

COPY = """
WITH others AS (SELECT min(created_at) AS first FROM proxy_usagerecord WHERE endpoint <> 'chat')
INSERT INTO proxy_rollup (period, starts_at, user_id, key_id, model, endpoint, requests, errors, prompt_tokens,
    cached_tokens, completion_tokens, cost_micro, latency_buckets, latency_counts)
SELECT period, starts_at, user_id, key_id, model, 'chat', requests, errors, prompt_tokens,
    cached_tokens, completion_tokens, cost_micro, latency_buckets, latency_counts
FROM proxy_usagerollup, others
WHERE first IS NULL OR starts_at < date_trunc(period, first, %s)
"""


def copy(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute(COPY, [settings.TIME_ZONE])


FIGURES = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_micro")


def sums() -> list[tuple[str, models.Field]]:
    return [(name, models.PositiveBigIntegerField()) for name in FIGURES]


def group() -> list[tuple[str, models.Field]]:
    return [
        ("key_id", models.BigIntegerField()),
        ("model", models.CharField(max_length=120)),
        ("endpoint", models.CharField(max_length=32)),
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("proxy", "0025_idempotency")]

    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("UsageRollup")]),
        migrations.CreateModel(
            name="UsageRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period", models.CharField(choices=[("hour", "hour"), ("day", "day")], max_length=4)),
                ("starts_at", models.DateTimeField()),
                ("user_id", models.BigIntegerField()),
                *group(),
                *sums(),
                (
                    "latency_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(), null=True, size=None
                    ),
                ),
                (
                    "latency_counts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveBigIntegerField(), null=True, size=None
                    ),
                ),
            ],
            options={
                "db_table": "proxy_rollup",
                "indexes": [
                    models.Index(fields=["user_id", "period", "starts_at"], name="rollup_of_user"),
                    models.Index(
                        condition=models.Q(("latency_counts__isnull", True)),
                        fields=["starts_at"],
                        name="rollup_lacks_latency",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("period", "starts_at", "key_id", "model", "endpoint"), name="rollup_once_each"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("latency_buckets__isnull", True), ("latency_counts__isnull", True)),
                            models.Q(
                                ("latency_buckets__isnull", False),
                                ("latency_buckets__len", models.F("latency_counts__len")),
                                ("latency_counts__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="rollup_latency_in_pairs",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EndUserRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("user_id", models.BigIntegerField()),
                ("end_user", models.BinaryField()),
                ("end_user_hint", models.CharField(max_length=64)),
                *group(),
                *sums(),
            ],
            options={
                "indexes": [models.Index(fields=["user_id", "starts_at"], name="end_user_rollup_of_user")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("end_user", "starts_at", "key_id", "model", "endpoint"),
                        name="end_user_rollup_once",
                    )
                ],
            },
        ),
        migrations.RunPython(copy, migrations.RunPython.noop),
    ]
