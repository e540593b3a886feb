"""What was asked for and what was decided on a sign-up credit stays."""

from django.db import migrations

GUARD = """
CREATE FUNCTION wallet_credit_change_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'pending'
       AND (OLD.id, OLD.tier_id, OLD.amount_micro, OLD.requested_by_id)
         = (NEW.id, NEW.tier_id, NEW.amount_micro, NEW.requested_by_id)
    THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a change of a sign-up credit is decided once and otherwise never changed'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER credit_change_fixed BEFORE UPDATE OR DELETE ON wallet_signupcreditchange
    FOR EACH ROW EXECUTE FUNCTION wallet_credit_change_fixed();
"""


class Migration(migrations.Migration):
    dependencies = [("wallet", "0015_sign_up_credit")]
    operations = [
        migrations.RunSQL(
            GUARD,
            "DROP TRIGGER credit_change_fixed ON wallet_signupcreditchange;"
            " DROP FUNCTION wallet_credit_change_fixed();",
        ),
    ]
