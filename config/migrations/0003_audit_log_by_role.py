"""Every role reads in the audit log what was done with rows that it may see."""

from django.db import migrations


def make(apps, schema_editor):
    from config import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [("config", "0001_roles")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
