"""The roles of admins, as groups."""

from django.db import migrations


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("accounts", "0011_block_and_sign_out"),
        ("keys", "0006_projects"),
        ("wallet", "0019_balance_states"),
        ("proxy", "0029_usage_project"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("auditlog", "0001_initial"),
        ("axes", "0001_initial"),
    ]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
