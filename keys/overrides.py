"""Exceptions to tiers: which may be set, and how one is ended early."""

from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from keys.models import LimitOverride


class Overlaps(Exception):
    """Another one of the same user or key holds in a part of the same time."""

    def __init__(self, other: LimitOverride) -> None:
        super().__init__(other.pk)
        self.other = other


def check(override: LimitOverride) -> None:
    """Needs a transaction, in which nobody else gives the same account one. Raises Overlaps."""
    owner_id = override.key.user_id if override.key is not None else override.user_id
    assert owner_id is not None
    User.objects.select_for_update(no_key=True).get(pk=owner_id)
    same = Q(user_id=override.user_id) if override.user_id else Q(key_id=override.key_id)
    others = LimitOverride.objects.filter(
        same, starts_at__lt=override.ends_at, ends_at__gt=override.starts_at
    ).exclude(pk=override.pk)
    if (other := others.order_by("starts_at").first()) is not None:
        raise Overlaps(other)


def end(*, override_id: int, now: datetime | None = None) -> bool:
    """Ends one that holds, at once; one that has not begun is taken back. False: it had ended. Opens a transaction."""
    now = now or timezone.now()
    with transaction.atomic():
        override = LimitOverride.objects.select_for_update().get(pk=override_id)
        if override.ends_at <= now:
            return False
        if override.starts_at >= now:
            override.delete()
        else:
            override.ends_at = now
            override.save(update_fields=["ends_at"])
    return True


def holds_for(*, user_id: int, now: datetime) -> bool:
    """Whether an account, or one of its keys, has one at this moment."""
    whose = Q(user_id=user_id) | Q(key__user_id=user_id)
    return LimitOverride.objects.filter(whose, starts_at__lte=now, ends_at__gt=now).exists()
