"""What was asked for and what was decided stays: adjustments are decided once, uses of promo codes never change."""

from django.db import migrations

GUARDS = """
CREATE FUNCTION wallet_adjustment_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'pending'
       AND (OLD.id, OLD.wallet_id, OLD.kind, OLD.amount_micro, OLD.reason, OLD.needs_approval, OLD.requested_by_id)
         = (NEW.id, NEW.wallet_id, NEW.kind, NEW.amount_micro, NEW.reason, NEW.needs_approval, NEW.requested_by_id)
    THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an adjustment is decided once and otherwise never changed'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER adjustment_fixed BEFORE UPDATE OR DELETE ON wallet_adjustment
    FOR EACH ROW EXECUTE FUNCTION wallet_adjustment_fixed();
CREATE TRIGGER redemption_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_promoredemption
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("wallet", "0008_adjustments_promos_alerts")]
    operations = [
        migrations.RunSQL(
            GUARDS,
            "DROP TRIGGER redemption_append_only ON wallet_promoredemption;"
            " DROP TRIGGER adjustment_fixed ON wallet_adjustment; DROP FUNCTION wallet_adjustment_fixed();",
        ),
    ]
