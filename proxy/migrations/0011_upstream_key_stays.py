"""A stored upstream key never leaves for another server: whoever changes scheme, host or port gives a key with it."""

from django.db import migrations

GUARD = r"""
CREATE FUNCTION proxy_origin(url text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(
        regexp_replace(lower(substring(url from '^[^:]+://[^/]*')), '^(https://.*):443$', '\1'),
        '^(http://.*):80$', '\1'
    )
$$;
CREATE FUNCTION proxy_upstream_key_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF proxy_origin(OLD.base_url) = proxy_origin(NEW.base_url) THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a stored upstream key never leaves for another server'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER upstream_key_stays BEFORE UPDATE ON proxy_upstream FOR EACH ROW
    WHEN (OLD.base_url <> NEW.base_url AND OLD.api_key_encrypted <> ''
          AND OLD.api_key_encrypted = NEW.api_key_encrypted)
    EXECUTE FUNCTION proxy_upstream_key_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("proxy", "0010_upstream_cost")]
    operations = [
        migrations.RunSQL(
            GUARD,
            "DROP TRIGGER upstream_key_stays ON proxy_upstream; DROP FUNCTION proxy_upstream_key_stays();"
            " DROP FUNCTION proxy_origin(text);",
        ),
    ]
