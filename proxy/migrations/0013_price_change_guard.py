"""What was asked for and what was decided on a price stays."""

from django.db import migrations

GUARD = """
CREATE FUNCTION proxy_pricechange_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'pending'
       AND ROW(OLD.id, OLD.model_id, OLD.valid_from, OLD.input_rial_per_million, OLD.output_rial_per_million,
               OLD.cached_input_rial_per_million, OLD.requested_by_id, OLD.created_at)
           IS NOT DISTINCT FROM
           ROW(NEW.id, NEW.model_id, NEW.valid_from, NEW.input_rial_per_million, NEW.output_rial_per_million,
               NEW.cached_input_rial_per_million, NEW.requested_by_id, NEW.created_at)
    THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a change of a price is decided once and otherwise never changed'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER pricechange_fixed BEFORE UPDATE OR DELETE ON proxy_pricechange
    FOR EACH ROW EXECUTE FUNCTION proxy_pricechange_fixed();
"""


class Migration(migrations.Migration):
    dependencies = [("proxy", "0012_price_changes")]
    operations = [
        migrations.RunSQL(
            GUARD,
            "DROP TRIGGER pricechange_fixed ON proxy_pricechange; DROP FUNCTION proxy_pricechange_fixed();",
        ),
    ]
