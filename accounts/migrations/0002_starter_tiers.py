"""The two tiers of the public contract. From here on they belong to the admins."""

from django.db import migrations

TOMAN_MICRO = 10_000_000


def add_tiers(apps, schema_editor):
    Tier = apps.get_model("accounts", "Tier")
    Tier.objects.create(
        name="Free",
        rpm=10,
        tpm=20_000,
        is_default=True,
        min_lifetime_topup_micro=0,
        sign_up_credit_micro=10_000 * TOMAN_MICRO,
    )
    Tier.objects.create(name="Standard", rpm=60, tpm=200_000, min_lifetime_topup_micro=100_000 * TOMAN_MICRO)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(add_tiers, migrations.RunPython.noop)]
