"""What waits to be delivered: an endpoint's events in the order of their deliveries' ids, one worker at a time.

A worker leases an endpoint, makes an attempt, and records it. One that dies in between leaves the lease, which ends,
and the event, which is sent again under the same id: at least once, never silently lost.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from accounts import secrets
from accounts.signals import backoff, payload
from accounts.signals.models import WebhookDelivery, WebhookEndpoint
from accounts.signals.sending import Answer

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)  # several times what an attempt can take
FAILING_DAYS = timedelta(days=7)
State, Because = WebhookEndpoint.State, WebhookEndpoint.Because

# The one that has waited longest for its turn first. Only the head of each queue is looked at, however long it is.
LEASE_DUE = """
WITH due AS (
    SELECT e.id FROM accounts_webhookendpoint e
    CROSS JOIN LATERAL (
        SELECT d.next_at FROM accounts_webhookdelivery d
        WHERE d.endpoint_id = e.id AND d.state = 'waiting' ORDER BY d.id LIMIT 1
    ) head
    WHERE e.state = 'active' AND (e.claimed_until IS NULL OR e.claimed_until <= %(now)s) AND head.next_at <= %(now)s
    ORDER BY e.claimed_until NULLS FIRST, e.id LIMIT %(limit)s
    FOR NO KEY UPDATE OF e SKIP LOCKED
)
UPDATE accounts_webhookendpoint e SET claimed_until = %(until)s FROM due WHERE e.id = due.id RETURNING e.id
"""
# Asked once the lease is committed: what another worker has delivered meanwhile is seen.
HEADS = """
SELECT e.id, e.address, e.secret_encrypted,
    CASE WHEN e.previous_secret_until > %(now)s THEN e.previous_secret_encrypted END,
    head.id, head.queued_at, head.attempts, v.id, v.event, v.created_at, v.data::text
FROM accounts_webhookendpoint e
CROSS JOIN LATERAL (
    SELECT * FROM accounts_webhookdelivery d
    WHERE d.endpoint_id = e.id AND d.state = 'waiting' ORDER BY d.id LIMIT 1
) head
JOIN accounts_webhookevent v ON v.id = head.event_id
WHERE e.id = ANY (%(ids)s) AND e.state = 'active' AND e.claimed_until = %(until)s AND head.next_at <= %(now)s
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased endpoint and the head of its queue. `until` names the lease; without secrets none could be read."""

    until: datetime
    endpoint_id: int
    address: str
    signing_secrets: tuple[str, ...] = field(repr=False)
    delivery_id: int
    queued_at: datetime
    attempts: int
    event_id: UUID
    event: str
    body: bytes = field(repr=False)


def claim(*, limit: int, now: datetime) -> list[Claim]:
    """Leases up to `limit` endpoints that have something due. Opens a transaction."""
    until = now + LEASE
    with connection.cursor() as cursor:
        cursor.execute(LEASE_DUE, {"now": now, "until": until, "limit": limit})
        ids = [row[0] for row in cursor.fetchall()]
    found = _heads(ids, until=until, now=now)
    if idle := {*ids} - {each.endpoint_id for each in found}:
        WebhookEndpoint.objects.filter(pk__in=idle, claimed_until=until).update(claimed_until=now)
    return found


def record(done: Claim, answer: Answer, *, now: datetime, goes_on: bool) -> Claim | None:
    """Writes an attempt down. Opens a transaction. `goes_on`: keeps the lease for what is due next, which it returns.

    Of an attempt whose lease is over only a success counts; one whose delivery was asked for anew meanwhile never does.
    """
    until = now + LEASE
    with transaction.atomic():
        endpoint = (
            WebhookEndpoint.objects.select_for_update(no_key=True)
            .filter(pk=done.endpoint_id, claimed_until=done.until)
            .first()
        )
        if endpoint is None and answer.error:
            return None
        delivery = WebhookDelivery.objects.filter(
            pk=done.delivery_id, state=WebhookDelivery.State.WAITING, queued_at=done.queued_at
        )
        delivery.update(**_outcome(done, answer, now))
        if endpoint is None:
            return None
        _judge(endpoint, answer, now)
        endpoint.claimed_until = until if goes_on else now
        endpoint.save(update_fields=["claimed_until", "failing_since", "state", "disabled_because"])
    if not goes_on:
        return None
    following = _heads([done.endpoint_id], until=until, now=now)
    if not following:
        WebhookEndpoint.objects.filter(pk=done.endpoint_id, claimed_until=until).update(claimed_until=now)
    return following[0] if following else None


def _heads(ids: list[int], *, until: datetime, now: datetime) -> list[Claim]:
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(HEADS, {"ids": ids, "until": until, "now": now})
        return [_claim(until, row) for row in cursor.fetchall()]


def _claim(until: datetime, row: tuple[Any, ...]) -> Claim:
    (
        endpoint_id,
        address,
        secret,
        previous,
        delivery_id,
        queued_at,
        attempts,
        event_id,
        event,
        created_at,
        data,
    ) = row
    return Claim(
        until=until,
        endpoint_id=endpoint_id,
        address=address,
        signing_secrets=_signing_secrets(endpoint_id, secret, previous),
        delivery_id=delivery_id,
        queued_at=queued_at,
        attempts=attempts,
        event_id=event_id,
        event=event,
        body=payload.body(event=event, created_at=created_at, data=data),
    )


def _signing_secrets(endpoint_id: int, secret: bytes, previous: bytes | None) -> tuple[str, ...]:
    """The new one first."""
    try:
        return tuple(secrets.decrypt(each) for each in (secret, previous) if each is not None)
    except secrets.Undecryptable:
        logger.exception("a webhook's secret cannot be read", extra={"endpoint_id": endpoint_id})
        return ()


def _outcome(done: Claim, answer: Answer, now: datetime) -> dict[str, Any]:
    """The columns of the delivery after the attempt. Another machine's clock may be ahead of ours."""
    columns: dict[str, Any] = {
        "attempts": F("attempts") + 1,
        "attempted_at": max(now, done.queued_at),
        "status": answer.status,
        "error": answer.error,
    }
    if not answer.error:
        return columns | {"state": WebhookDelivery.State.DELIVERED, "next_at": None, "delivered_at": now}
    next_at = backoff.next_attempt(
        queued_at=done.queued_at,
        now=now,
        attempts=done.attempts + 1,
        retry_after=backoff.retry_after(answer.retry_after, now=now),
    )
    state = WebhookDelivery.State.GIVEN_UP if next_at is None else WebhookDelivery.State.WAITING
    return columns | {"state": state, "next_at": next_at}


def _judge(endpoint: WebhookEndpoint, answer: Answer, now: datetime) -> None:
    if not answer.error:
        endpoint.failing_since = None
        return
    endpoint.failing_since = endpoint.failing_since or now
    because = None
    if answer.status == 410:
        because = Because.GONE
    elif now - endpoint.failing_since >= FAILING_DAYS:
        because = Because.FAILING
    if because is not None and endpoint.state == State.ACTIVE:
        endpoint.state, endpoint.disabled_because = State.DISABLED, because
