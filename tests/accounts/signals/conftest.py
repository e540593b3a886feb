from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.signals import delivery, outbox
from accounts.signals.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.accounts.signals import receiver as receivers
from tests.accounts.signals.receiver import Receiver
from tests.factories import WebhookEndpointFactory


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.running() as running:
        yield running


class Clock:
    """The time that a run is told; it goes when a test lets it go."""

    def __init__(self) -> None:
        self.now = timezone.now() + timedelta(minutes=1)  # ahead of whatever the test takes

    def __call__(self) -> datetime:
        return self.now

    def go(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock(committed_db: None) -> Iterator[Clock]:
    """What other tests have left waiting is nobody's any more."""
    WebhookEndpoint.objects.update(state="paused", disabled_because="")
    yield Clock()
    WebhookEndpoint.objects.update(state="paused", disabled_because="")


@pytest.fixture
def endpoint(clock: Clock, receiver: Receiver) -> WebhookEndpoint:
    made: WebhookEndpoint = WebhookEndpointFactory.create(address=receiver.address)
    return made


def happen(endpoint: WebhookEndpoint, *numbers: int) -> None:
    for number in numbers:
        with transaction.atomic():
            outbox.emit(user_id=endpoint.user_id, event="key.created", data={"n": number})


def happen_at(endpoint: WebhookEndpoint, number: int, clock: Clock) -> None:
    """By the clock of the test, not the machine's."""
    happen(endpoint, number)
    newest = endpoint.deliveries.latest("id")
    WebhookEvent.objects.filter(pk=newest.event_id).update(created_at=clock())
    endpoint.deliveries.filter(pk=newest.pk).update(queued_at=clock(), next_at=clock())


def run(clock: Clock) -> int:
    return delivery.run(now=clock, seconds=20)


def states(endpoint: WebhookEndpoint) -> list[str]:
    return [str(each) for each in endpoint.deliveries.order_by("id").values_list("state", flat=True)]


def head(endpoint: WebhookEndpoint) -> WebhookDelivery:
    found = endpoint.deliveries.filter(state="waiting").order_by("id").first()
    assert found is not None
    return found
