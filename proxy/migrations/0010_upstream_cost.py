"""What an upstream says that a request costs the operator."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("proxy", "0009_what_models_take_and_make"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagerecord",
            name="upstream_cost_nanodollars",
            field=models.PositiveBigIntegerField(null=True, verbose_name="upstream's cost, nanodollars"),
        ),
    ]
