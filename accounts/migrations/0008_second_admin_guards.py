"""Seeds of authenticators leave the plain text that django-otp kept them in; what was asked for and decided stays; and
there is always a tier for new accounts."""

from django.db import migrations

from accounts import secrets

OLD_DEVICES = """
SELECT user_id, key, drift, last_t, throttling_failure_timestamp, throttling_failure_count, created_at, last_used_at
FROM otp_totp_totpdevice WHERE confirmed AND step = 30 AND t0 = 0 AND digits = 6
"""
GUARDS = """
CREATE FUNCTION accounts_number_change_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'pending'
       AND (OLD.id, OLD.user_id, OLD.old_mobile, OLD.new_mobile, OLD.reason, OLD.requested_by_id)
         = (NEW.id, NEW.user_id, NEW.old_mobile, NEW.new_mobile, NEW.reason, NEW.requested_by_id)
    THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a change of a number is decided once and otherwise never changed'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER number_change_fixed BEFORE UPDATE OR DELETE ON accounts_numberchange
    FOR EACH ROW EXECUTE FUNCTION accounts_number_change_fixed();

CREATE FUNCTION accounts_tier_always_default() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM accounts_tier WHERE is_default) THEN RETURN NULL;
    END IF;
    RAISE EXCEPTION 'there is always a tier for new accounts'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE CONSTRAINT TRIGGER tier_always_default AFTER UPDATE OR DELETE ON accounts_tier
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.is_default)
    EXECUTE FUNCTION accounts_tier_always_default();
"""
NO_GUARDS = """
DROP TRIGGER tier_always_default ON accounts_tier; DROP FUNCTION accounts_tier_always_default();
DROP TRIGGER number_change_fixed ON accounts_numberchange; DROP FUNCTION accounts_number_change_fixed();
"""


def encrypt_seeds(apps, schema_editor):
    """The old table stays, empty, for processes of the version before: admins sign in again when those are gone."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('otp_totp_totpdevice')")
        if cursor.fetchone()[0] is None:
            return
        cursor.execute(OLD_DEVICES)
        Authenticator = apps.get_model("accounts", "Authenticator")
        for user_id, key, drift, last_t, failed_at, failures, created_at, last_used_at in cursor.fetchall():
            made = Authenticator.objects.create(
                user_id=user_id,
                name="authenticator",
                confirmed=True,
                seed_encrypted=secrets.encrypt(key),
                drift=drift,
                last_step=last_t,
                throttling_failure_timestamp=failed_at,
                throttling_failure_count=failures,
                last_used_at=last_used_at,
            )
            Authenticator.objects.filter(pk=made.pk).update(created_at=created_at)
        cursor.execute("DELETE FROM otp_totp_totpdevice")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_second_admins")]
    operations = [
        migrations.RunPython(encrypt_seeds, migrations.RunPython.noop),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
