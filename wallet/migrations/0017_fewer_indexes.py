"""Two indexes that every settlement paid for and nothing needs are dropped while requests go on: hence no transaction.

By hand: Django would drop the journal's foreign key with its index and check every entry to make it again.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [("wallet", "0016_sign_up_credit_guard")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
                    f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} (wallet_id)",
                )
                for table, name in (
                    ("wallet_hold", "wallet_hold_wallet_id_b20de9ff"),
                    ("wallet_journalentry", "wallet_journalentry_wallet_id_e808226f"),
                )
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="hold",
                    name="wallet",
                    field=models.ForeignKey(
                        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds", to="wallet.wallet",
                    ),
                ),
                migrations.AlterField(
                    model_name="journalentry",
                    name="wallet",
                    field=models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="entries",
                        to="wallet.wallet", verbose_name="wallet",
                    ),
                ),
            ],
        ),
    ]
