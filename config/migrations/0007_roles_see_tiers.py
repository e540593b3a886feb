"""The roles see what limits hold for single models, and exceptions to tiers."""

from django.db import migrations


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0006_notes_by_role"),
        ("accounts", "0018_tiers_by_day_and_model"),
        ("keys", "0009_limit_overrides"),
    ]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
