"""Keys are found by the end of their secret, which is all that people see of one."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("keys", "0006_projects")]
    operations = [
        AddIndexConcurrently(
            model_name="apikey", index=models.Index(fields=["last_four"], name="apikey_last_four_index")
        ),
        AddIndexConcurrently(
            model_name="adminkey", index=models.Index(fields=["last_four"], name="adminkey_last_four_index")
        ),
    ]
