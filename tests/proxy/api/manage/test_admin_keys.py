"""Which key opens which door: admin keys the management API, API keys the models."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from keys import admin_keys, reading
from keys.actors import OPERATOR
from keys.models import AdminKey
from keys.secret import generate_admin
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import HELLO, MODEL, Caller
from tests.proxy.api.manage.conftest import Manager
from tests.proxy.api.manage.test_keys import refused

ENDPOINTS = ["chat/completions", "responses", "embeddings", "audio/speech", "images/generations"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_admin_key_calls_no_models(manager: Manager, web: WebProcess, endpoint: str) -> None:
    for head in (
        {"Authorization": f"Bearer {manager.admin_key.secret}"},
        {"x-api-key": manager.admin_key.secret},
    ):
        answer = httpx.post(
            f"{web.url}/v1/{endpoint}", json={"model": MODEL, "messages": HELLO}, headers=head
        )
        assert refused(answer)[:2] == (403, "admin_key_not_allowed")
        assert "hm-" in answer.json()["error"]["message"]


def test_anthropics_clients_are_told_in_their_shape(manager: Manager, web: WebProcess) -> None:
    answer = httpx.post(
        f"{web.url}/v1/messages",
        json={"model": MODEL, "max_tokens": 5, "messages": HELLO},
        headers={"x-api-key": manager.admin_key.secret},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_key_not_allowed")


def test_an_api_key_manages_nothing(caller: Caller) -> None:
    with caller.http as http:
        for answer in (
            http.get("/manage/keys"),
            http.post("/manage/keys", json={"name": "x"}),
            http.delete(f"/manage/keys/{caller.key_id}"),
        ):
            assert refused(answer)[:2] == (403, "admin_key_required")
    assert len(reading.listing(caller.wallet.pk)) == 1


def test_of_two_keys_the_one_that_fits_counts(manager: Manager, caller: Caller) -> None:
    both = {"Authorization": f"Bearer {caller.key}", "x-api-key": manager.admin_key.secret}
    assert manager.http.get("/keys", headers=both).status_code == 200
    with caller.http as http:
        assert http.get("/models", headers=both).status_code == 200


def test_keys_that_do_not_work_are_refused(
    make_manager: Callable[..., Manager], manager: Manager, web: WebProcess
) -> None:
    address = f"{web.url}/v1/manage/keys"
    assert refused(httpx.get(address))[:2] == (401, "missing_api_key")
    wrong = manager.admin_key.secret[:-1] + ("A" if manager.admin_key.secret[-1] != "A" else "B")
    for secret in ("nonsense", wrong, generate_admin(), "hm-admin-"):
        answer = httpx.get(address, headers={"Authorization": f"Bearer {secret}"})
        assert refused(answer)[:2] == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    over = make_manager(expires_at=timezone.now() - timedelta(seconds=1))
    assert refused(over.http.get("/keys"))[:2] == (401, "invalid_api_key")
    elsewhere = make_manager(allowed_networks=["192.0.2.0/24"])
    assert refused(elsewhere.http.get("/keys"))[:2] == (403, "network_not_allowed")
    assert AdminKey.objects.get(pk=elsewhere.admin_key.key_id).last_used_at is None
    here = make_manager(allowed_networks=["127.0.0.0/8"])
    assert here.http.get("/keys").status_code == 200


def test_a_revoked_admin_key_is_refused_at_once(manager: Manager) -> None:
    assert manager.http.get("/keys").status_code == 200
    admin_keys.revoke(user_id=manager.user_id, key_id=manager.admin_key.key_id, by=OPERATOR)
    eventually(lambda: manager.http.get("/keys").status_code == 401, seconds=3)


def test_an_admin_key_does_what_its_scopes_say(make_manager: Callable[..., Manager]) -> None:
    reader, writer = make_manager(scopes=["keys:read"]), make_manager(scopes=["keys:write"])
    watcher = make_manager(scopes=["usage:read"])
    made = writer.create()
    for answer in (
        reader.http.post("/keys", json={"name": "x"}),
        watcher.http.post("/keys", json={"name": "x"}),
        writer.http.get("/keys"),
        writer.http.get(f"/keys/{made['id']}"),
        watcher.http.get("/keys"),
        reader.http.delete("/keys/1"),
    ):
        assert refused(answer)[:2] == (403, "insufficient_scope")
    assert '"keys:write"' not in reader.http.get("/keys").text
    assert "keys:write" in reader.http.post("/keys", json={"name": "x"}).json()["error"]["message"]


def test_its_last_use_is_noted(manager: Manager) -> None:
    manager.http.get("/keys")
    used = AdminKey.objects.get(pk=manager.admin_key.key_id).last_used_at
    assert used is not None
    assert timezone.now() - used < timedelta(minutes=1)


def test_other_methods_are_refused_and_options_need_no_key(web: WebProcess) -> None:
    answer = httpx.put(f"{web.url}/v1/manage/keys", json={})
    assert refused(answer)[:2] == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    one = httpx.options(f"{web.url}/v1/manage/keys/1")
    assert set(one.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}


@pytest.mark.proof
def test_an_admin_key_asks_six_hundred_times_a_minute(make_manager: Callable[..., Manager]) -> None:
    manager, other = make_manager(), make_manager()
    asked = 0
    while (answer := manager.http.get("/keys/0")).status_code == 404:
        asked += 1
        assert asked <= 600
    assert (asked, answer.status_code) == (600, 429)
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert other.http.get("/keys").status_code == 200
