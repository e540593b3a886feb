"""Changes under an `Idempotency-Key` are made once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from keys.models import APIKey, StoredAnswer
from proxy.api.manage import repeats
from proxy.api.manage.repeats import Answer, Asked
from proxy.errors import APIError
from tests.live import at_once
from tests.proxy.api.manage.conftest import Manager
from tests.proxy.api.manage.test_keys import refused

ONCE = {"Idempotency-Key": "3f6c"}


def test_a_repeat_gives_the_same_answer_with_the_secret(manager: Manager) -> None:
    first = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE)
    again = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["etag"] == first.headers["etag"]
    assert APIKey.objects.filter(user_id=manager.user_id).count() == 1


def test_every_change_can_be_repeated(manager: Manager) -> None:
    made = manager.create()
    address, seen = f"/keys/{made['id']}", {"If-Match": made["etag"]}

    def twice(method: str, path: str, key: str, **more: Any) -> None:
        headers = {**seen, "Idempotency-Key": key}
        first, again = (manager.http.request(method, path, headers=headers, **more) for _ in range(2))
        assert first.is_success, first.text
        assert again.json() == first.json()  # though the version that If-Match names is gone
        seen.clear()

    twice("PATCH", address, "a", json={"name": "store"})
    twice("POST", f"{address}/rotate", "b")
    twice("DELETE", address, "c")
    assert APIKey.objects.filter(user_id=manager.user_id).count() == 2


def test_a_secret_is_kept_encrypted(manager: Manager) -> None:
    secret = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE).json()["secret"]
    row = StoredAnswer.objects.get(admin_key_id=manager.admin_key.key_id)
    assert secret.encode() not in bytes(row.answer_encrypted)
    assert secret[-10:] not in repr(StoredAnswer.objects.values().get(pk=row.pk))


def test_another_request_under_the_same_key_is_refused(manager: Manager) -> None:
    made = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE).json()
    for answer in (
        manager.http.post("/keys", json={"name": "store"}, headers=ONCE),
        manager.http.post(f"/keys/{made['id']}/rotate", json={"name": "shop"}, headers=ONCE),
        manager.http.delete(f"/keys/{made['id']}", headers=ONCE),
    ):
        status, code, _param = refused(answer)
        assert (status, code) in {(422, "idempotency_mismatch"), (400, "invalid_value")}
    assert refused(manager.http.delete(f"/keys/{made['id']}", headers=ONCE))[0] == 422
    assert manager.http.get(f"/keys/{made['id']}").json()["state"] == "active"


def test_keys_of_different_admin_keys_do_not_meet(
    manager: Manager, make_manager: Callable[..., Manager]
) -> None:
    other = make_manager(user_id=manager.user_id)
    first = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE).json()
    assert other.http.post("/keys", json={"name": "shop"}, headers=ONCE).json()["id"] != first["id"]


def test_what_was_refused_may_be_tried_again_under_the_same_key(manager: Manager) -> None:
    assert manager.http.post("/keys", json={"name": ""}, headers=ONCE).status_code == 400
    assert manager.http.delete("/keys/0", headers=ONCE).status_code == 404
    assert manager.http.post("/keys", json={"name": "shop"}, headers=ONCE).status_code == 201


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xfc"])
def test_a_wrong_idempotency_key_is_pointed_out(manager: Manager, key: bytes) -> None:
    answer = manager.http.post("/keys", json={"name": "shop"}, headers=[(b"Idempotency-Key", key)])
    assert refused(answer) == (400, "invalid_value", "Idempotency-Key")
    assert not APIKey.objects.filter(user_id=manager.user_id).exists()


def test_at_once_one_is_made_and_the_others_are_told_so(manager: Manager) -> None:
    head = {**dict(manager.http.headers), **ONCE}
    address = f"{manager.http.base_url}keys"

    def make(http: httpx.Client, _number: int) -> httpx.Response:
        return http.post(address, json={"name": "shop"}, headers=head)

    answers = at_once(make, range(12), threads=12)
    made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    others = [answer for answer in answers if answer.status_code != 201]
    assert len(set(made)) == 1
    for answer in others:
        assert refused(answer)[:2] == (409, "request_in_progress")
        assert answer.headers["retry-after"] == "1"
    assert APIKey.objects.filter(user_id=manager.user_id).count() == 1


def test_one_that_still_runs_is_said_to(manager: Manager) -> None:
    begun, go_on = threading.Event(), threading.Event()
    asked = Asked(manager.admin_key.key_id, "3f6c", "POST", "/v1/manage/keys", b'{"name":"shop"}')

    def slow() -> Answer:
        begun.set()
        go_on.wait(20)
        return Answer({"id": 1})

    def run() -> None:
        try:
            repeats.once(asked, slow)
        finally:
            connection.close()

    running = threading.Thread(target=run)
    running.start()
    begun.wait(20)
    answer = manager.http.post("/keys", content=b'{"name":"shop"}', headers=ONCE)
    go_on.set()
    running.join()
    assert refused(answer)[:2] == (409, "request_in_progress")
    assert manager.http.post("/keys", content=b'{"name":"shop"}', headers=ONCE).json() == {"id": 1}


def test_after_a_day_a_key_stands_for_a_new_request(manager: Manager) -> None:
    first = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE).json()
    own = StoredAnswer.objects.filter(admin_key_id=manager.admin_key.key_id)
    own.update(created_at=timezone.now() - timedelta(hours=24))
    second = manager.http.post("/keys", json={"name": "store"}, headers=ONCE).json()
    assert second["id"] != first["id"]
    repeats.purge()
    assert own.count() == 1
    own.update(created_at=timezone.now() - timedelta(hours=25))
    repeats.purge()
    assert not own.exists()


def test_answers_survive_a_change_of_the_field_keys(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = manager.http.post("/keys", json={"name": "shop"}, headers=ONCE)
    old = settings.FIELD_KEYS
    asked = Asked(manager.admin_key.key_id, "3f6c", "POST", "/v1/manage/keys", bytes(first.request.content))
    monkeypatch.setattr(settings, "FIELD_KEYS", ["a new one of enough characters, thirty-two", *old])
    with transaction.atomic():
        assert repeats.rotate_all() > 0
    monkeypatch.setattr(settings, "FIELD_KEYS", settings.FIELD_KEYS[:1])
    try:
        assert repeats.once(asked, pytest.fail).body == first.json()
    finally:
        monkeypatch.setattr(settings, "FIELD_KEYS", [*old, *settings.FIELD_KEYS])
        with transaction.atomic():
            repeats.rotate_all()
    monkeypatch.setattr(settings, "FIELD_KEYS", ["of another installation, thirty-two too"])
    with pytest.raises(APIError) as refusal:
        repeats.once(asked, pytest.fail)
    assert refusal.value.code == "idempotency_replayed"
