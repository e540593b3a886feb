"""What an owner sees of deliveries, and asks for anew."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from accounts.signals import endpoints, payload
from accounts.signals.models import WebhookDelivery, WebhookEvent

PAGE = 50
State = WebhookDelivery.State
AGAIN: dict[str, object] = {
    "state": State.WAITING,
    "attempts": 0,
    "attempted_at": None,
    "delivered_at": None,
    "status": None,
    "error": "",
}


class UnknownDelivery(Exception):
    """The endpoint has no such delivery, or has it no longer."""


@dataclass(frozen=True, slots=True)
class Page:
    """`before` is the cursor of the next page; None: there is none."""

    deliveries: list[WebhookDelivery]
    before: int | None


def page(*, user_id: int, endpoint_id: int, before: int | None = None) -> Page:
    """An endpoint's deliveries, newest event first."""
    own = WebhookDelivery.objects.filter(endpoint=endpoint_id, endpoint__user=user_id)
    if before is not None:
        own = own.filter(pk__lt=before)
    found = list(own.select_related("event").order_by("-pk")[: PAGE + 1])
    return Page(found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None)


def get(*, user_id: int, endpoint_id: int, delivery_id: int) -> WebhookDelivery:
    """Raises UnknownDelivery."""
    own = WebhookDelivery.objects.filter(pk=delivery_id, endpoint=endpoint_id, endpoint__user=user_id)
    delivery = own.select_related("event", "endpoint").first()
    if delivery is None:
        raise UnknownDelivery(delivery_id)
    return delivery


def body(delivery: WebhookDelivery) -> str:
    """What is sent, to the byte."""
    event = delivery.event
    written = WebhookEvent.objects.annotate(written=Cast("data", TextField())).values_list(
        "written", flat=True
    )
    data = written.get(pk=event.pk)
    return payload.body(event=event.event, created_at=event.created_at, data=data).decode()


def replay(*, user_id: int, endpoint_id: int, delivery_id: int) -> None:
    """Sends an event again, under the same id; one that waits is tried at once. Raises UnknownDelivery.

    It keeps its place: nothing later is sent before it from then on.
    """
    get(user_id=user_id, endpoint_id=endpoint_id, delivery_id=delivery_id)
    _replay(Q(pk=delivery_id))


def replay_since(*, user_id: int, endpoint_id: int, since: datetime) -> int:
    """Likewise for all that happened since then, in order; returns how many. Raises UnknownEndpoint."""
    endpoints.get(user_id=user_id, endpoint_id=endpoint_id)
    return _replay(Q(endpoint=endpoint_id, event__created_at__gte=since))


def _replay(which: Q) -> int:
    now = timezone.now()
    wanted = WebhookDelivery.objects.filter(which)
    # An attempt may be under way, whose success is to count.
    waiting = wanted.filter(state=State.WAITING).update(next_at=now)
    return waiting + wanted.exclude(state=State.WAITING).update(queued_at=now, next_at=now, **AGAIN)
