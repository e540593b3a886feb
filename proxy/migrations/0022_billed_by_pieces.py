from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """A name for what is billed by counted pieces; the column stays as it is."""

    dependencies: ClassVar = [("proxy", "0021_endpoints_and_protocols")]

    operations: ClassVar = [
        migrations.AlterField(
            model_name="usagerecord",
            name="billed_by",
            field=models.CharField(
                choices=[
                    ("usage", "reported usage"),
                    ("repaired", "reported usage, repaired"),
                    ("counted", "counted"),
                    ("estimate", "estimate"),
                    ("nothing", "not billed"),
                ],
                max_length=8,
                verbose_name="billed by",
            ),
        ),
    ]
