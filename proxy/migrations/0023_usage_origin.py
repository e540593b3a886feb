"""A usage record says where its request comes from: the client's own id of it, and the end user that it named.

A web process from before writes neither.
"""

from typing import ClassVar

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("proxy", "0022_billed_by_pieces")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="usagerecord",
            name="client_request_id",
            field=models.CharField(
                db_default="", default="", max_length=128, verbose_name="the client's request id"
            ),
        ),
        migrations.AddField(
            model_name="usagerecord",
            name="end_user",
            field=models.BinaryField(null=True, verbose_name="end user"),
        ),
        migrations.AddField(
            model_name="usagerecord",
            name="end_user_hint",
            field=models.CharField(db_default="", default="", max_length=64, verbose_name="end user"),
        ),
        AddConstraintNotValid(
            model_name="usagerecord",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("end_user__isnull", True), ("end_user_hint", "")),
                    models.Q(
                        ("end_user__isnull", False), models.Q(("end_user_hint", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="usage_end_user_is_shown",
            ),
        ),
    ]
