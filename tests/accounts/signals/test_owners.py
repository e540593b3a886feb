"""What owners do with their webhooks and deliveries, and what nobody else may."""

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts import secrets
from accounts.signals import deliveries, endpoints, outbox
from accounts.signals.endpoints import AddressTaken, TooManyEndpoints, UnknownEndpoint
from accounts.signals.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.accounts.signals.conftest import Clock, happen, head, run, states
from tests.accounts.signals.receiver import Receiver, status
from tests.factories import SIGNING_SECRET, UserFactory, WebhookEndpointFactory

LOCAL = "http://127.0.0.1:8000"


@pytest.mark.django_db
def test_a_new_endpoint_has_a_secret_of_its_own_kept_encrypted() -> None:
    user = UserFactory.create()
    made = endpoints.create(user_id=user.pk, address=f"{LOCAL}/hook", events=["key.created"])
    stored = WebhookEndpoint.objects.get(pk=made.endpoint_id)
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    assert secrets.decrypt(stored.secret_encrypted) == made.secret
    assert (stored.address, stored.events, stored.state) == (f"{LOCAL}/hook", ["key.created"], "active")


@pytest.mark.django_db
def test_an_account_has_ten_endpoints_at_most_and_no_address_twice() -> None:
    user = UserFactory.create()
    for number in range(endpoints.MAX_ENDPOINTS):
        endpoints.create(user_id=user.pk, address=f"{LOCAL}/{number}", events=["key.created"])
    with pytest.raises(AddressTaken):
        endpoints.create(user_id=user.pk, address=f"{LOCAL}/0", events=["key.created"])
    with pytest.raises(TooManyEndpoints):
        endpoints.create(user_id=user.pk, address=f"{LOCAL}/one-more", events=["key.created"])


def test_two_that_are_added_at_once_pass_no_limit(committed_db: None) -> None:
    user = UserFactory.create()
    WebhookEndpointFactory.create_batch(endpoints.MAX_ENDPOINTS - 1, user=user, state="paused")
    refused: list[Exception] = []

    def add(number: int) -> None:
        try:
            endpoints.create(user_id=user.pk, address=f"{LOCAL}/{number}", events=["key.created"])
        except TooManyEndpoints as error:
            refused.append(error)
        finally:
            connection.close()

    adding = [Thread(target=add, args=(number,)) for number in range(4)]
    for each in adding:
        each.start()
    for each in adding:
        each.join()
    assert user.webhook_endpoints.count() == endpoints.MAX_ENDPOINTS
    assert len(refused) == 3
    user.webhook_endpoints.all().delete()


@pytest.mark.django_db
def test_an_endpoint_is_changed_to_another_address_and_other_events() -> None:
    first, second = WebhookEndpointFactory.create_batch(2, user=UserFactory.create())
    endpoints.change(
        user_id=first.user_id, endpoint_id=first.pk, address=f"{LOCAL}/new", events=["balance.low"]
    )
    first.refresh_from_db()
    assert (first.address, first.events) == (f"{LOCAL}/new", ["balance.low"])
    WebhookEndpoint.objects.filter(pk=second.pk).update(address=f"{LOCAL}/taken")
    with pytest.raises(AddressTaken):
        endpoints.change(
            user_id=first.user_id, endpoint_id=first.pk, address=f"{LOCAL}/taken", events=["balance.low"]
        )


@pytest.mark.django_db
def test_nobody_reaches_an_endpoint_of_another_account() -> None:
    endpoint = WebhookEndpointFactory.create()
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    delivery = endpoint.deliveries.get()
    other: dict[str, Any] = {"user_id": UserFactory.create().pk, "endpoint_id": endpoint.pk}
    for verb in (
        endpoints.pause,
        endpoints.resume,
        endpoints.rotate_secret,
        endpoints.delete,
        endpoints.send_test,
        endpoints.get,
    ):
        with pytest.raises(UnknownEndpoint):
            verb(**other)
    with pytest.raises(UnknownEndpoint):
        endpoints.change(**other, address=f"{LOCAL}/", events=["key.created"])
    with pytest.raises(UnknownEndpoint):
        deliveries.replay_since(**other, since=delivery.queued_at)
    with pytest.raises(deliveries.UnknownDelivery):
        deliveries.replay(**other, delivery_id=delivery.pk)
    assert deliveries.page(**other).deliveries == []
    assert WebhookEndpoint.objects.get(pk=endpoint.pk).state == "active"


def test_a_test_arrives_and_a_second_click_sends_no_second_one(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    endpoint.events = ["balance.low"]
    endpoint.save()
    for _ in range(2):
        endpoints.send_test(user_id=endpoint.user_id, endpoint_id=endpoint.pk)
    run(clock)
    (got,) = receiver.got
    assert b'"type":"webhook.test"' in got.body
    endpoints.send_test(user_id=endpoint.user_id, endpoint_id=endpoint.pk)
    run(clock)
    assert len(receiver.got) == 2


def test_a_replay_sends_the_same_under_the_same_id(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, 1, 2, 3)
    run(clock)
    second = endpoint.deliveries.order_by("id")[1]
    deliveries.replay(user_id=endpoint.user_id, endpoint_id=endpoint.pk, delivery_id=second.pk)
    run(clock)
    assert receiver.numbers() == [1, 2, 3, 2]
    assert (receiver.got[1].id, receiver.got[1].body) == (receiver.got[3].id, receiver.got[3].body)
    assert deliveries.body(second).encode() == receiver.got[3].body


def test_all_since_a_time_are_replayed_in_order_those_given_up_among_them(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    happen(endpoint, 1)
    run(clock)
    receiver.answer = status(500)
    happen(endpoint, 2)
    since = head(endpoint).event.created_at
    run(clock)
    clock.go(hours=25)
    run(clock)
    receiver.answer = status(200)
    happen(endpoint, 3)
    run(clock)
    assert states(endpoint) == ["delivered", "given_up", "delivered"]
    receiver.got.clear()
    assert deliveries.replay_since(user_id=endpoint.user_id, endpoint_id=endpoint.pk, since=since) == 2
    run(clock)
    assert receiver.numbers() == [2, 3]
    assert states(endpoint) == ["delivered"] * 3


def test_one_that_waits_is_tried_at_once_when_its_owner_asks(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = status(503, retry_after="7200")
    happen(endpoint, 1)
    run(clock)
    receiver.answer = status(200)
    deliveries.replay(
        user_id=endpoint.user_id, endpoint_id=endpoint.pk, delivery_id=endpoint.deliveries.get().pk
    )
    run(clock)
    assert (states(endpoint), endpoint.deliveries.get().attempts) == (["delivered"], 2)


@pytest.mark.django_db
def test_deliveries_are_listed_newest_first_by_pages() -> None:
    endpoint = WebhookEndpointFactory.create()
    for number in range(deliveries.PAGE + 1):
        outbox.emit(user_id=endpoint.user_id, event="key.created", data={"n": number})
    whose = {"user_id": endpoint.user_id, "endpoint_id": endpoint.pk}
    first = deliveries.page(**whose)
    rest = deliveries.page(**whose, before=first.before)
    shown = [each.event.data["n"] for each in (*first.deliveries, *rest.deliveries)]
    assert shown == list(range(deliveries.PAGE, -1, -1))
    assert (len(first.deliveries), rest.before) == (deliveries.PAGE, None)


@pytest.mark.django_db
def test_events_are_kept_for_thirty_days_and_longer_while_they_are_asked_for_anew() -> None:
    endpoint = WebhookEndpointFactory.create()
    for number in range(4):
        outbox.emit(user_id=endpoint.user_id, event="key.created", data={"n": number})
    long_ago = timezone.now() - outbox.KEPT - timedelta(hours=1)
    old, paused, replayed, _young = endpoint.deliveries.order_by("id")
    WebhookEvent.objects.filter(pk__in=[each.event_id for each in (old, paused, replayed)]).update(
        created_at=long_ago
    )
    WebhookDelivery.objects.filter(pk=old.pk).update(
        state="delivered", next_at=None, delivered_at=long_ago, queued_at=long_ago
    )
    WebhookDelivery.objects.filter(pk=paused.pk).update(queued_at=long_ago)
    assert outbox.purge(now=timezone.now()) == 2
    assert [each.event.data["n"] for each in endpoint.deliveries.order_by("id")] == [2, 3]
    assert outbox.purge(now=timezone.now()) == 0


@pytest.mark.django_db
def test_a_deleted_endpoint_takes_what_waits_for_it_along() -> None:
    endpoint = WebhookEndpointFactory.create()
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    endpoints.delete(user_id=endpoint.user_id, endpoint_id=endpoint.pk)
    assert not WebhookDelivery.objects.filter(endpoint_id=endpoint.pk).exists()
    with pytest.raises(UnknownEndpoint):
        endpoints.delete(user_id=endpoint.user_id, endpoint_id=endpoint.pk)


@pytest.mark.django_db
def test_a_rotation_of_field_keys_keeps_both_secrets(settings: Any) -> None:
    endpoint = WebhookEndpointFactory.create()
    new = endpoints.rotate_secret(user_id=endpoint.user_id, endpoint_id=endpoint.pk).secret
    settings.FIELD_KEYS = ["a new key of at least thirty-two characters", *settings.FIELD_KEYS]
    assert endpoints.rotate_field_keys() >= 1
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    endpoint.refresh_from_db()
    assert secrets.decrypt(endpoint.secret_encrypted) == new
    assert endpoint.previous_secret_encrypted is not None
    assert secrets.decrypt(endpoint.previous_secret_encrypted) == SIGNING_SECRET
