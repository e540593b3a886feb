"""Sessions are stored under digests of their keys. Those that there are go on: their keys become their digests."""

from django.db import migrations, models

DIGEST = """
UPDATE accounts_session SET session_key = encode(sha256(convert_to(session_key, 'UTF8')), 'hex')
WHERE length(session_key) < 64
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_tier_account_factor")]
    operations = [
        migrations.AlterField(
            model_name="session",
            name="session_key",
            field=models.CharField(max_length=64, primary_key=True, serialize=False),
        ),
        # Backwards there is nothing to find them by: everybody signs in again.
        migrations.RunSQL(DIGEST, "DELETE FROM accounts_session"),
    ]
