"""The log's index without endpoints makes room for the one with them. A process of before reads on, more slowly."""

from typing import ClassVar

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("proxy", "0027_rollups_by_endpoint")]

    operations: ClassVar = [RemoveIndexConcurrently(model_name="usagerecord", name="usage_key_model_recent")]
