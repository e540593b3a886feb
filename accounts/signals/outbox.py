"""The outbox of events: what happened is written down in the transaction in which it happens, or not at all."""

from collections.abc import Mapping

import orjson
import uuid_utils.compat as uuid
from django.db import connection, transaction
from django.utils import timezone

from accounts.signals.events import Event

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
