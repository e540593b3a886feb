"""What an admin may give or take alone: up to a limit in 24 hours, adjustments and promo codes together."""

from datetime import timedelta

from django.conf import settings
from django.db.models import F, Sum
from django.db.models.functions import Abs
from django.utils import timezone

from accounts.models import User
from wallet.credits.models import Adjustment, PromoCode
from wallet.money import micro_from_toman

WINDOW = timedelta(hours=24)


def needs_second(*, admin_id: int, amount_micro: int | None, promo_code_id: int | None = None) -> bool:
    """Whether an admin cannot decide on this amount alone, with all that he decided alone in the last 24 hours.

    None is an amount without a bound. `promo_code_id`: the code that is asked for anew and not counted twice. Locks
    the admin's row, so that of two at once each counts the other: belongs in the transaction that stores the amount.
    """
    User.objects.select_for_update(no_key=True).get(pk=admin_id)
    if amount_micro is None:
        return True
    since = timezone.now() - WINDOW
    adjusted = Adjustment.objects.filter(
        requested_by_id=admin_id, needs_approval=False, created_at__gt=since
    ).aggregate(total=Sum(Abs("amount_micro")))["total"]
    codes = PromoCode.objects.filter(requested_by_id=admin_id, needs_approval=False, requested_at__gt=since)
    if promo_code_id is not None:
        codes = codes.exclude(pk=promo_code_id)
    promised = codes.aggregate(total=Sum(F("amount_micro") * F("max_uses")))["total"]
    total_micro = abs(amount_micro) + (adjusted or 0) + (promised or 0)
    return total_micro > micro_from_toman(settings.ADJUSTMENT_APPROVAL_TOMAN)
