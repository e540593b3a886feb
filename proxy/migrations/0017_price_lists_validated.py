"""Looks at the records from before by the rules of 0015, in a transaction of its own: writes go on meanwhile."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("proxy", "0016_price_lists")]
    operations = [
        ValidateConstraint(model_name="usagerecord", name="usage_cost_is_tokens_times_price"),
        ValidateConstraint(model_name="usagerecord", name="usage_quantities_are_object"),
    ]
