"""An account's choice to have its answers kept, and the end of what has been kept for long enough."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import F, Sum
from django.db.models.functions import Least, Now
from django.utils import timezone

from proxy.idempotency.claims import LIFE_HOURS
from proxy.idempotency.models import HOURS_MAX, AnswerKeeping, KeptAnswer

PURGE_BATCH = 1_000
PURGE_BATCHES_MAX = 200  # in one run

# By the order of their age, a few at a time: others read and write these tables meanwhile.
PURGES = (
    f"""
    DELETE FROM proxy_idempotentrequest WHERE id IN (
        SELECT id FROM proxy_idempotentrequest WHERE claimed_at < now() - interval '{LIFE_HOURS} hours'
        ORDER BY claimed_at LIMIT {PURGE_BATCH})
    """,  # noqa: S608 - numbers of ours
    f"""
    DELETE FROM proxy_keptanswer WHERE request_id IN (
        SELECT request_id FROM proxy_keptanswer WHERE expires_at < now() ORDER BY expires_at LIMIT {PURGE_BATCH})
    """,  # noqa: S608 - a number of ours
)


@dataclass(frozen=True, slots=True)
class Keeping:
    """`hours`: None where nothing is kept from now on. `answers` are there now, of so many bytes."""

    hours: int | None
    answers: int
    size: int


def of(*, user_id: int) -> Keeping:
    kept = KeptAnswer.objects.filter(user_id=user_id, expires_at__gt=timezone.now())
    size = kept.aggregate(size=Sum("size"))["size"] or 0
    hours = AnswerKeeping.objects.filter(pk=user_id).values_list("hours", flat=True).first()
    return Keeping(hours, kept.count(), size)


def keep(*, user_id: int, hours: int) -> None:
    """From now on; what is kept already goes after so many hours, too. Opens a transaction."""
    assert 1 <= hours <= HOURS_MAX
    with transaction.atomic():
        AnswerKeeping.objects.update_or_create(pk=user_id, defaults={"hours": hours})
        expiry = F("kept_at") + timedelta(hours=hours)
        kept = KeptAnswer.objects.filter(user_id=user_id)
        kept.filter(kept_at__lte=Now() - timedelta(hours=hours)).delete()
        kept.update(expires_at=Least(F("expires_at"), expiry))


def stop(*, user_id: int) -> int:
    """Keeps nothing from now on and deletes what was kept; returns how many answers. Opens a transaction."""
    with transaction.atomic():
        AnswerKeeping.objects.filter(
            pk=user_id
        ).delete()  # first: an answer that is being written is waited for
        deleted, _by_model = KeptAnswer.objects.filter(user_id=user_id).delete()
    return deleted


def delete(*, user_id: int) -> int:
    """Deletes what is kept now; returns how many answers."""
    deleted, _by_model = KeptAnswer.objects.filter(user_id=user_id).delete()
    return deleted


def purge() -> int:
    """Deletes claims and answers past their time, each batch in a transaction of its own; returns how many."""
    total = 0
    with connection.cursor() as cursor:
        for sql in PURGES:
            for _ in range(PURGE_BATCHES_MAX):
                cursor.execute(sql)
                total += cursor.rowcount
                if cursor.rowcount < PURGE_BATCH:
                    break
    return total
