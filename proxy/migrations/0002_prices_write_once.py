"""A price that has been charged is evidence: it is never edited and never removed."""

from django.db import migrations

WRITE_ONCE = """
CREATE FUNCTION proxy_write_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is write-once', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER price_write_once BEFORE UPDATE OR DELETE OR TRUNCATE ON proxy_price
    FOR EACH STATEMENT EXECUTE FUNCTION proxy_write_once();
"""


class Migration(migrations.Migration):
    dependencies = [("proxy", "0001_initial")]
    operations = [
        migrations.RunSQL(
            WRITE_ONCE, "DROP TRIGGER price_write_once ON proxy_price; DROP FUNCTION proxy_write_once();"
        ),
    ]
