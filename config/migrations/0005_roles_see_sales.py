"""Finance sees what is earned, catalogue by model and upstream; support sees to whom codes were sent."""

from django.db import migrations


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0004_task_runs"),
        ("accounts", "0015_message_counts"),
        ("proxy", "0033_sales"),
    ]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
