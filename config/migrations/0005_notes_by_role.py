"""Who sees people writes notes about them."""

from django.db import migrations


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0004_task_runs"),
        ("accounts", "0014_user_notes"),
    ]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
