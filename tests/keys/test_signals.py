"""Webhooks are told of every key that is made or revoked, whichever way, once."""

from datetime import timedelta
from uuid import uuid4

import pytest

from accounts.signals.models import WebhookEndpoint
from keys import admin_keys, lifecycle
from keys.actors import OPERATOR
from keys.rules import KeyRules
from tests.accounts.signals.told import names, told
from tests.factories import WebhookEndpointFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint() -> WebhookEndpoint:
    made: WebhookEndpoint = WebhookEndpointFactory.create()
    return made


def test_a_new_key_is_told_without_its_secret(endpoint: WebhookEndpoint) -> None:
    key = lifecycle.create(user_id=endpoint.user_id, name="وب‌سایت")
    ((event, data),) = told(endpoint)
    assert event == "key.created"
    assert data == {
        "key_id": key.key_id,
        "kind": "api",
        "name": "وب‌سایت",
        "hint": f"hm-…{key.last_four}",
        "expires_at": None,
        "replaces": None,
    }
    assert key.secret not in str(data)


def test_a_revoked_key_is_told_once_however_often_it_is_revoked(endpoint: WebhookEndpoint) -> None:
    key = lifecycle.create(user_id=endpoint.user_id, name="web")
    for _ in range(2):
        lifecycle.revoke(user_id=endpoint.user_id, key_id=key.key_id)
    assert names(endpoint) == ["key.created", "key.revoked"]
    assert told(endpoint)[1][1] == {
        "key_id": key.key_id,
        "kind": "api",
        "name": "web",
        "hint": f"hm-…{key.last_four}",
        "replaced_by": None,
    }


def test_of_a_replacement_at_once_both_are_told(endpoint: WebhookEndpoint) -> None:
    old = lifecycle.create(user_id=endpoint.user_id, name="web")
    new = lifecycle.rotate(user_id=endpoint.user_id, key_id=old.key_id, grace=timedelta())
    (_, revoked), (_, created) = told(endpoint)[1:]
    assert names(endpoint)[1:] == ["key.revoked", "key.created"]
    assert (revoked["key_id"], revoked["replaced_by"]) == (old.key_id, new.key_id)
    assert (created["key_id"], created["replaces"]) == (new.key_id, old.key_id)


def test_a_key_that_is_replaced_with_a_grace_expires_and_is_not_told_as_revoked(
    endpoint: WebhookEndpoint,
) -> None:
    old = lifecycle.create(user_id=endpoint.user_id, name="web", rules=KeyRules(rpm=5))
    lifecycle.rotate(user_id=endpoint.user_id, key_id=old.key_id, grace=timedelta(hours=1))
    assert names(endpoint) == ["key.created", "key.created"]


def test_an_admin_key_is_told_of_like_any_other(endpoint: WebhookEndpoint) -> None:
    key = admin_keys.create(
        user_id=endpoint.user_id,
        name="deploy",
        scopes=["keys:read"],
        allowed_networks=[],
        expires_at=None,
        creation_token=uuid4(),
        by=OPERATOR,
    )
    for _ in range(2):
        admin_keys.revoke(user_id=endpoint.user_id, key_id=key.key_id, by=OPERATOR)
    assert names(endpoint) == ["key.created", "key.revoked"]
    for _event, data in told(endpoint):
        assert (data["key_id"], data["kind"], data["hint"]) == (
            key.key_id,
            "admin",
            f"hm-admin-…{key.last_four}",
        )


def test_keys_of_the_playground_are_not_told(endpoint: WebhookEndpoint) -> None:
    key = lifecycle.session_key(user_id=endpoint.user_id)
    lifecycle.end_session_key(user_id=endpoint.user_id)
    lifecycle.revoke(user_id=endpoint.user_id, key_id=key.key_id)
    assert names(endpoint) == []
