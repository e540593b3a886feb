"""Indexes of the request log by endpoint, end user and the client's id, made while requests go on: no transaction."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("proxy", "0023_usage_origin")]

    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="usagerecord",
            index=models.Index(
                fields=["key_id", "model", "endpoint", "-created_at"], name="usage_key_model_endpoint"
            ),
        ),
        AddIndexConcurrently(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("end_user__isnull", False)),
                fields=["end_user", "key_id", "model", "endpoint", "-created_at"],
                name="usage_end_user_recent",
            ),
        ),
        AddIndexConcurrently(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("client_request_id", ""), _negated=True),
                fields=["user_id", "client_request_id", "-created_at"],
                name="usage_client_request",
            ),
        ),
        ValidateConstraint(model_name="usagerecord", name="usage_end_user_is_shown"),
    ]
