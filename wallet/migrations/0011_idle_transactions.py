"""A transaction that stalls holds a wallet's row, and with it every batch that asks about that wallet.

Nothing here sits idle inside a transaction on purpose (providers are called outside), so one that does for five
seconds belongs to a process that died or was frozen: the database ends it. Set on the database, so that it holds
for every client and behind a pooler; the role that migrates has to own the database.
"""

from django.db import migrations

SET = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = ''5s''', current_database());
END $$
"""
RESET = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I RESET idle_in_transaction_session_timeout', current_database());
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("wallet", "0010_holds_without_foreign_key")]
    operations = [migrations.RunSQL(SET, RESET)]
