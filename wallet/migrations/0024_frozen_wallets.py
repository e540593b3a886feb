"""Frozen wallets, which are few, are counted by whoever looks at the business, and by each scrape of the metrics."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("wallet", "0023_names_in_the_admin")]
    operations = [
        AddIndexConcurrently(
            model_name="wallet",
            index=models.Index(
                fields=["frozen_at"], condition=models.Q(frozen_at__isnull=False), name="wallet_frozen_index"
            ),
        ),
    ]
