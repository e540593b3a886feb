"""What happened is in the outbox for those that want to hear of it, once, and with the transaction or not at all."""

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.signals import outbox
from accounts.signals.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.factories import UserFactory, WebhookEndpointFactory


def emitted(user_id: int) -> list[tuple[str, Any]]:
    return list(
        WebhookEvent.objects.filter(user_id=user_id).order_by("created_at").values_list("event", "data")
    )


@pytest.mark.django_db
def test_an_event_is_written_once_with_a_delivery_for_each_endpoint_that_wants_it() -> None:
    user = UserFactory.create()
    both = [WebhookEndpointFactory.create(user=user, events=["key.created"]) for _ in range(2)]
    WebhookEndpointFactory.create(user=user, events=["key.revoked"])
    WebhookEndpointFactory.create(events=["key.created"])
    outbox.emit(user_id=user.pk, event="key.created", data={"key_id": 7, "name": "وب‌سایت"})
    event = WebhookEvent.objects.get(user=user)
    assert (event.event, event.data, event.id.version) == ("key.created", {"key_id": 7, "name": "وب‌سایت"}, 7)
    deliveries = WebhookDelivery.objects.filter(event=event).order_by("id")
    assert [each.endpoint for each in deliveries] == both
    assert {(each.state, each.next_at == each.queued_at == event.created_at) for each in deliveries} == {
        ("waiting", True)
    }


@pytest.mark.django_db
def test_nothing_is_written_where_nobody_wants_it() -> None:
    user = UserFactory.create()
    WebhookEndpointFactory.create(user=user, events=["key.revoked"])
    WebhookEndpointFactory.create(user=user, state="disabled", disabled_because="gone")
    outbox.emit(user_id=user.pk, event="key.created", data={})
    assert emitted(user.pk) == []


@pytest.mark.django_db
def test_a_paused_endpoint_hears_later_of_what_happens_meanwhile() -> None:
    endpoint = WebhookEndpointFactory.create(state="paused")
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    assert endpoint.deliveries.get().state == "waiting"


@pytest.mark.django_db
def test_an_occurrence_is_told_once() -> None:
    endpoint = WebhookEndpointFactory.create()
    for event, dedup in [("budget.80", "a"), ("budget.80", "a"), ("budget.reached", "a"), ("budget.80", "b")]:
        outbox.emit(user_id=endpoint.user_id, event=event, data={"of": dedup}, dedup=dedup)
    assert emitted(endpoint.user_id) == [
        ("budget.80", {"of": "a"}),
        ("budget.reached", {"of": "a"}),
        ("budget.80", {"of": "b"}),
    ]
    assert endpoint.deliveries.count() == 3
    outbox.emit(user_id=WebhookEndpointFactory.create().user_id, event="budget.80", data={}, dedup="a")
    assert WebhookEvent.objects.filter(dedup="a").count() == 3


@pytest.mark.django_db
def test_what_names_no_occurrence_is_told_each_time() -> None:
    endpoint = WebhookEndpointFactory.create()
    for _ in range(2):
        outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    assert endpoint.deliveries.count() == 2


@pytest.mark.django_db
def test_what_concerns_everybody_is_one_event_for_all() -> None:
    wanting = [WebhookEndpointFactory.create(events=["price.announced"]) for _ in range(3)]
    WebhookEndpointFactory.create(events=["key.created"])
    for _ in range(2):
        outbox.emit_to_all(event="price.announced", data={"model": "m"}, dedup="m from 1405")
    event = WebhookEvent.objects.get(event="price.announced", dedup="m from 1405")
    assert event.user_id is None
    assert set(event.deliveries.values_list("endpoint_id", flat=True)) >= {each.pk for each in wanting}


def test_what_is_rolled_back_is_not_told(committed_db: None) -> None:
    endpoint = WebhookEndpointFactory.create()
    with transaction.atomic():
        outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
        transaction.set_rollback(True)
    assert emitted(endpoint.user_id) == []


def test_without_a_transaction_nothing_is_told(committed_db: None) -> None:
    endpoint = WebhookEndpointFactory.create()
    with pytest.raises(AssertionError, match="belongs into the transaction"):
        outbox.emit(user_id=endpoint.user_id, event="key.created", data={})


@pytest.mark.django_db
def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a valid Event"):
        outbox.emit(user_id=UserFactory.create().pk, event="balance.gone", data={})


def test_an_endpoint_deleted_meanwhile_does_not_undo_what_happened(committed_db: None) -> None:
    endpoint = WebhookEndpointFactory.create()
    user = endpoint.user

    def delete() -> None:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).delete()
        connection.close()

    deleting = Thread(target=delete)
    with transaction.atomic():
        outbox.emit(user_id=user.pk, event="key.created", data={})
        user.is_staff = True
        user.save(update_fields=["is_staff"])
        deleting.start()
    deleting.join()
    user.refresh_from_db()
    assert user.is_staff
    assert not WebhookEndpoint.objects.filter(pk=endpoint.pk).exists()


NOW = timezone.now()


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("webhookendpoint_address_is_http", {"address": "ftp://example.com"}),
        ("webhookendpoint_address_is_http", {"address": "https://example.com/a b"}),
        ("webhookendpoint_wants_events", {"events": []}),
        ("webhookendpoint_secret_encrypted", {"secret_encrypted": b"whsec_plain"}),
        ("webhookendpoint_previous_secret", {"previous_secret_until": NOW}),
        (
            "webhookendpoint_previous_secret",
            {"previous_secret_encrypted": b"whsec_plain", "previous_secret_until": NOW},
        ),
        ("webhookendpoint_disabled_because", {"disabled_because": "gone"}),
        ("webhookendpoint_disabled_because", {"state": "disabled"}),
    ],
)
@pytest.mark.django_db
def test_the_database_refuses_an_endpoint_that_contradicts_itself(
    constraint: str, changes: dict[str, Any]
) -> None:
    endpoint = WebhookEndpointFactory.create()
    with pytest.raises(IntegrityError, match=constraint):
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**changes)


@pytest.mark.django_db
def test_the_database_refuses_an_address_twice_for_a_user() -> None:
    endpoint = WebhookEndpointFactory.create()
    WebhookEndpointFactory.create(address=endpoint.address)
    with pytest.raises(IntegrityError, match="webhookendpoint_address_once"):
        WebhookEndpointFactory.create(user=endpoint.user, address=endpoint.address)


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("webhookdelivery_state", {"state": "delivered"}),
        ("webhookdelivery_state", {"next_at": None}),
        ("webhookdelivery_state", {"state": "given_up"}),
        ("webhookdelivery_state", {"delivered_at": NOW}),
        ("webhookdelivery_attempted", {"attempts": 1}),
        ("webhookdelivery_attempted", {"attempted_at": NOW}),
        ("webhookdelivery_attempted", {"attempts": 1, "attempted_at": NOW - timedelta(days=1)}),
    ],
)
@pytest.mark.django_db
def test_the_database_refuses_a_delivery_that_contradicts_itself(
    constraint: str, changes: dict[str, Any]
) -> None:
    endpoint = WebhookEndpointFactory.create()
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={})
    with pytest.raises(IntegrityError, match=constraint):
        endpoint.deliveries.update(**changes)


@pytest.mark.django_db
def test_the_database_refuses_an_event_twice_for_an_endpoint_and_an_occurrence_twice() -> None:
    endpoint = WebhookEndpointFactory.create()
    outbox.emit(user_id=endpoint.user_id, event="key.created", data={}, dedup="once")
    delivery = endpoint.deliveries.get()
    with pytest.raises(IntegrityError, match="webhookdelivery_once"), transaction.atomic():
        WebhookDelivery.objects.create(
            endpoint=endpoint, event=delivery.event, queued_at=delivery.queued_at, next_at=delivery.next_at
        )
    with pytest.raises(IntegrityError, match="webhookevent_once"), transaction.atomic():
        WebhookEvent.objects.create(
            id="01890a5d-ac96-774b-bcce-b302099a8057", user_id=endpoint.user_id, event="key.created",
            data={}, dedup="once", created_at=NOW,
        )  # fmt: skip
