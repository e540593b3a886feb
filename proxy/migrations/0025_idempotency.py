import datetime
from typing import ClassVar

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Requests with an Idempotency-Key, and the answers that are kept for repeats where an account has chosen so."""

    dependencies: ClassVar = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("proxy", "0024_usage_origin_indexes"),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="AnswerKeeping",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                ("hours", models.PositiveSmallIntegerField(verbose_name="hours")),
                ("since", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("hours__range", (1, 24))), name="answer_keeping_hours"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="IdempotentRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("user_id", models.BigIntegerField()),
                ("key_digest", models.BinaryField()),
                ("body_digest", models.BinaryField()),
                ("request_id", models.UUIDField()),
                ("claimed_at", models.DateTimeField()),
                ("alive_until", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["claimed_at"], name="idempotency_claimed_at")],
                "constraints": [
                    models.UniqueConstraint(fields=("user_id", "key_digest"), name="idempotency_key_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            django.db.models.lookups.Exact(
                                models.Func(
                                    models.F("key_digest"),
                                    function="octet_length",
                                    output_field=models.IntegerField(),
                                ),
                                32,
                            )
                        ),
                        name="idempotency_key_is_digest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            django.db.models.lookups.Exact(
                                models.Func(
                                    models.F("body_digest"),
                                    function="octet_length",
                                    output_field=models.IntegerField(),
                                ),
                                32,
                            )
                        ),
                        name="idempotency_body_is_digest",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="KeptAnswer",
            fields=[
                ("request_id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("user_id", models.BigIntegerField()),
                ("kept_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("size", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["expires_at"], name="kept_answer_expiry"),
                    models.Index(
                        fields=["user_id"], include=("expires_at", "size"), name="kept_answer_of_user"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("expires_at__gt", models.F("kept_at")),
                            (
                                "expires_at__lte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("kept_at"), "+", models.Value(datetime.timedelta(days=1))
                                ),
                            ),
                        ),
                        name="kept_answer_at_most_a_day",
                    )
                ],
            },
        ),
    ]
