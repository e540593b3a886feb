"""What no row constraint can say: journal transactions balance, and nothing in the journal is ever changed."""

from django.db import migrations

BALANCED = """
CREATE FUNCTION wallet_journal_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid;
BEGIN
    SELECT transaction_id INTO bad FROM added GROUP BY transaction_id HAVING sum(amount_micro) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal transaction % does not sum to zero', bad
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_sums_to_zero';
    END IF;
    RETURN NULL;
END $$;
-- By statement, not deferred by row: every INSERT must balance by itself, which implies the deferred rule and
-- costs one pass over the batch instead of a query a row.
CREATE TRIGGER journal_sums_to_zero AFTER INSERT ON wallet_journalentry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION wallet_journal_balanced();
"""
APPEND_ONLY = """
CREATE FUNCTION wallet_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_journalentry
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_append_only();
"""
# Holds live for seconds and wallets are updated by every batch: vacuum them by their own dead rows, early, and
# leave room on a wallet's page for the next version.
STORAGE = """
ALTER TABLE wallet_hold SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
ALTER TABLE wallet_wallet SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
"""


class Migration(migrations.Migration):
    dependencies = [("wallet", "0001_initial")]
    operations = [
        migrations.RunSQL(
            BALANCED,
            "DROP TRIGGER journal_sums_to_zero ON wallet_journalentry; DROP FUNCTION wallet_journal_balanced();",
        ),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER journal_append_only ON wallet_journalentry; DROP FUNCTION wallet_append_only();",
        ),
        migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
    ]
