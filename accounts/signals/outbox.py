"""The outbox of events: what happened is written down in the transaction in which it happens, or not at all."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson
import uuid_utils.compat as uuid
from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.signals.events import TEST, Event
from accounts.signals.models import WebhookDelivery, WebhookEvent

KEPT = timedelta(days=30)
PURGE_BATCH, PURGE_BATCHES = 1_000, 100

# The endpoints stay until the commit: one that is deleted meanwhile must not undo what happened. Neither a pause nor
# a worker waits for that.
EMIT = """
WITH wanted AS (
    SELECT id FROM accounts_webhookendpoint
    WHERE {whose} AND state <> 'disabled' AND %(event)s = ANY (events)
    ORDER BY id FOR KEY SHARE
), written AS (
    INSERT INTO accounts_webhookevent (id, user_id, event, data, dedup, created_at)
    SELECT %(id)s, %(user_id)s, %(event)s, %(data)s::jsonb, %(dedup)s, %(now)s WHERE EXISTS (SELECT FROM wanted)
    ON CONFLICT DO NOTHING
    RETURNING id
)
INSERT INTO accounts_webhookdelivery
    (endpoint_id, event_id, state, queued_at, next_at, attempts, error)
SELECT wanted.id, written.id, 'waiting', %(now)s, %(now)s, 0, '' FROM wanted, written ORDER BY wanted.id
"""


def emit(*, user_id: int, event: str, data: Mapping[str, object], dedup: str = "") -> None:
    """Tells those of a user's endpoints that want the event; without one, writes nothing. Needs an open transaction.

    `dedup` names the occurrence: a second (user, event, dedup) writes nothing.
    """
    _emit(EMIT.format(whose="user_id = %(user_id)s"), user_id, event, data, dedup)


def emit_to_all(*, event: str, data: Mapping[str, object], dedup: str = "") -> None:
    """Likewise for what concerns everybody: one event, the same for all endpoints that want it."""
    _emit(EMIT.format(whose="TRUE"), None, event, data, dedup)


def emit_test(*, user_id: int, endpoint_id: int) -> None:
    """A test for one endpoint, unless one waits for it. Needs an open transaction that locks the endpoint."""
    now = timezone.now()
    waiting = WebhookDelivery.objects.filter(endpoint=endpoint_id, state=WebhookDelivery.State.WAITING)
    if waiting.filter(event__event=TEST).exists():
        return
    event = WebhookEvent.objects.create(
        id=uuid.uuid7(), user_id=user_id, event=TEST, data={"message": "Your webhook works."}, created_at=now
    )
    WebhookDelivery.objects.create(endpoint_id=endpoint_id, event=event, queued_at=now, next_at=now)


def purge(*, now: datetime) -> int:
    """Removes events that are older than KEPT, a bounded number at a time, and their deliveries; returns how many.

    Those that were asked for anew stay until they have been delivered.
    """
    removed = 0
    for _ in range(PURGE_BATCHES):
        old = WebhookEvent.objects.filter(created_at__lt=now - KEPT)
        asked_for = WebhookDelivery.objects.filter(
            event=OuterRef("pk"), state=WebhookDelivery.State.WAITING, queued_at__gte=now - KEPT
        )
        ids = list(
            old.exclude(Exists(asked_for)).order_by("created_at").values_list("pk", flat=True)[:PURGE_BATCH]
        )
        if not ids:
            break
        with transaction.atomic():
            WebhookEvent.objects.filter(pk__in=ids).delete()
        removed += len(ids)
    return removed


def _emit(statement: str, user_id: int | None, event: str, data: Mapping[str, object], dedup: str) -> None:
    assert transaction.get_connection().in_atomic_block, "emit() belongs into the transaction of what happens"
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                "id": uuid.uuid7(),
                "user_id": user_id,
                "event": Event(event).value,
                "data": orjson.dumps(data).decode(),
                "dedup": dedup,
                "now": timezone.now(),
            },
        )
