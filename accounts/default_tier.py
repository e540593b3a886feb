"""The tier of new accounts: exactly one at all times (the database refuses a second one, and none)."""

from django.db import transaction

from accounts.models import Tier


def choose(*, tier_id: int) -> None:
    """Makes a tier the one of new accounts, in place of the present one. Opens a transaction."""
    with transaction.atomic():
        # All of them under their locks, so that of two choices at once the second finds the first.
        tiers = list(Tier.objects.select_for_update().order_by("pk"))
        for tier in sorted(tiers, key=lambda each: each.pk == tier_id):  # the new one last
            if tier.is_default != (tier.pk == tier_id):
                tier.is_default = tier.pk == tier_id
                tier.save(update_fields=["is_default"])
