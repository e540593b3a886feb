"""Who sees people writes notes about them."""

from django.db import migrations


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0005_roles_see_sales"),
        ("accounts", "0016_user_notes"),
    ]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
