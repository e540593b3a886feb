"""The management API: an account's keys, made, listed, changed, replaced and revoked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from keys import changes, lifecycle
from keys.models import APIKey
from keys.projects import projects
from proxy import own_keys
from tests.factories import UserFactory
from tests.live import WebProcess, at_once
from tests.proxy.api.conftest import MODEL, Caller
from tests.proxy.api.manage.conftest import Manager
from wallet.ledger.models import Budget
from wallet.ledger.periods import Period, bounds
from wallet.money import micro_from_toman

EVERYTHING = {
    "name": "فروشگاه",
    "cap_toman": 50_000,
    "expires_at": "2099-03-21T00:00:00+03:30",
    "allowed_models": [MODEL],
    "allowed_networks": ["127.0.0.1", "::ffff:10.0.0.0/104", "2001:db8::1/32"],
    "rpm": 8,
    "tpm": 9_000,
    "concurrency": 2,
}


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def test_a_key_that_is_made_calls_models_and_its_secret_is_told_once(
    manager: Manager, web: WebProcess
) -> None:
    answer = manager.http.post("/keys", json=EVERYTHING)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/manage/keys/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    secret = made.pop("secret")
    times = {name: made.pop(name) for name in ("created_at", "etag", "id")}
    assert made == {
        **EVERYTHING,
        "object": "api_key",
        "hint": f"hm-…{secret[-4:]}",
        "state": "active",
        "last_used_at": None,
        "revoked_at": None,
        "expires_at": "2099-03-20T20:30:00.000000Z",
        "allowed_networks": ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"],
        "cap_period": "forever",
        "spent_toman": 0,
        "resets_at": None,
        "project_id": None,
        "replaces": None,
        "replaced_by": None,
    }
    said = manager.http.get(f"/keys/{times['id']}")
    assert said.headers["etag"] == times["etag"]
    assert said.json() == {**made, **times}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
    head = {"Authorization": f"Bearer {secret}"}
    assert httpx.post(f"{web.url}/v1/chat/completions", json=body, headers=head).status_code == 200


def test_the_key_pages_show_what_was_made(manager: Manager) -> None:
    made = manager.create(cap_toman=7)
    own = own_keys.get(user_id=manager.user_id, key_id=made["id"], month_start=timezone.now())
    assert own.cap is not None
    assert own.cap.limit_micro == micro_from_toman(7)


def test_what_is_spent_is_told(manager: Manager) -> None:
    made = manager.create(cap_toman=7)
    Budget.objects.filter(wallet_id=manager.user_id).update(spent_micro=12_345_600)
    assert manager.http.get(f"/keys/{made['id']}").json()["spent_toman"] == 1.23456


# --- lists -------------------------------------------------------------------------------------------------------


def test_pages_go_from_the_newest_to_the_oldest(manager: Manager) -> None:
    ids = [manager.create(name=str(number))["id"] for number in range(5)]
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = manager.http.get("/keys", params=query).json()
        assert page["object"] == "list"
        seen += [key["id"] for key in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], seen[-1])
        assert "secret" not in page["data"][0]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert seen == ids[::-1]
    empty = manager.http.get("/keys", params={"after": ids[0]}).json()
    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_keys_are_listed_by_state(manager: Manager) -> None:
    active, revoked, replaced, expired = (manager.create(name=name)["id"] for name in "abcd")
    manager.http.delete(f"/keys/{revoked}")
    new = manager.http.post(f"/keys/{replaced}/rotate").json()["id"]
    APIKey.objects.filter(pk=expired).update(expires_at=timezone.now() - timedelta(seconds=1))

    def listed(state: str) -> list[int]:
        found = manager.http.get("/keys", params={"state": state}).json()["data"]
        if "," not in state:
            assert {key["state"] for key in found} == {state}
        return [key["id"] for key in found]

    assert listed("active") == [new, active]
    assert listed("revoked") == [revoked]
    assert listed("replaced") == [replaced]
    assert listed("expired") == [expired]
    assert listed("expired,revoked") == [expired, revoked]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=", "limit"),
        ("limit=1e2", "limit"),
        ("limit=%DB%B1", "limit"),
        ("after=", "after"),
        ("after=-1", "after"),
        ("after=abc", "after"),
        (f"after={10**30}", "after"),
        ("state=", "state"),
        ("state=active,", "state"),
        ("state=working", "state"),
        ("page=2", "page"),
    ],
)
def test_a_broken_cursor_limit_or_filter_is_pointed_out(manager: Manager, query: str, param: str) -> None:
    assert refused(manager.http.get(f"/keys?{query}")) == (400, "invalid_value", param)


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_the_keys(django_assert_num_queries: Any) -> None:
    user = UserFactory.create()
    for number in range(4):
        key = lifecycle.create(user_id=user.pk, name=str(number)).key_id
        lifecycle.rotate(user_id=user.pk, key_id=key, grace=timedelta(hours=1))
    for limit in (1, 8):
        with django_assert_num_queries(1):  # and one of their caps, where there are some
            own_keys.page(user_id=user.pk, limit=limit)


# --- changes -----------------------------------------------------------------------------------------------------


def test_a_change_touches_what_it_names_alone(manager: Manager) -> None:
    made = manager.create(**EVERYTHING)
    address = f"/keys/{made['id']}"
    changed = manager.http.patch(address, json={"rpm": None, "name": " store "}).json()
    assert changed == {
        **{name: value for name, value in made.items() if name != "secret"},
        "rpm": None,
        "name": "store",
        "etag": changed["etag"],
    }
    assert changed["etag"] != made["etag"]
    freed = manager.http.patch(
        address,
        json={"cap_toman": None, "expires_at": None, "allowed_models": [], "allowed_networks": []},
    ).json()
    assert (freed["cap_toman"], freed["spent_toman"], freed["expires_at"]) == (None, None, None)
    assert (freed["allowed_models"], freed["allowed_networks"]) == ([], [])
    assert manager.http.patch(address, json={}).json() == freed


def test_a_change_is_in_force_at_once(make_manager: Callable[..., Manager], caller: Caller) -> None:
    manager = make_manager(user_id=caller.wallet.pk)
    assert caller.ask().status_code == 200
    manager.http.patch(f"/keys/{caller.key_id}", json={"allowed_networks": ["192.0.2.0/24"]})
    assert refused(caller.ask())[:2] == (403, "network_not_allowed")
    manager.http.patch(f"/keys/{caller.key_id}", json={"allowed_networks": []})
    assert caller.ask().status_code == 200
    manager.http.delete(f"/keys/{caller.key_id}")
    assert refused(caller.ask())[:2] == (401, "invalid_api_key")


def test_a_model_that_a_key_may_use_already_may_stay(manager: Manager) -> None:
    made = manager.create(allowed_models=[MODEL])
    APIKey.objects.filter(pk=made["id"]).update(allowed_models=["gone", MODEL])
    address = f"/keys/{made['id']}"
    assert manager.http.patch(address, json={"allowed_models": ["gone"]}).json()["allowed_models"] == ["gone"]
    assert refused(manager.http.patch(address, json={"allowed_models": ["never"]})) == (
        400,
        "invalid_value",
        "allowed_models",
    )


def test_revoking_is_repeatable_and_final(manager: Manager) -> None:
    address = f"/keys/{manager.create()['id']}"
    first = manager.http.delete(address)
    assert (first.status_code, first.json()["state"]) == (200, "revoked")
    assert manager.http.delete(address).json() == first.json() == manager.http.get(address).json()
    assert refused(manager.http.patch(address, json={"name": "x"}))[:2] == (409, "key_ended")
    assert refused(manager.http.post(f"{address}/rotate"))[:2] == (409, "key_ended")


@pytest.mark.parametrize(("body", "hours"), [(None, 24), ({}, 24), ({"grace_seconds": 3600}, 1)])
def test_a_replaced_key_goes_on_for_its_grace(manager: Manager, body: Any, hours: int) -> None:
    old = manager.create(rpm=7)
    answer = manager.http.post(f"/keys/{old['id']}/rotate", json=body)
    new = answer.json()
    assert answer.status_code == 201
    assert new["secret"].startswith("hm-")
    assert (new["replaces"], new["rpm"], new["name"]) == (old["id"], 7, "shop")
    ended = manager.http.get(f"/keys/{old['id']}").json()
    assert (ended["state"], ended["replaced_by"]) == ("replaced", new["id"])
    ends_at = APIKey.objects.get(pk=old["id"]).expires_at
    assert ends_at is not None
    assert abs(ends_at - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=5)
    assert refused(manager.http.post(f"/keys/{new['id']}/rotate"))[:2] == (409, "key_being_replaced")


def test_a_key_is_replaced_at_once_without_grace(manager: Manager) -> None:
    old = manager.create()
    assert manager.http.post(f"/keys/{old['id']}/rotate", json={"grace_seconds": 0}).status_code == 201
    assert manager.http.get(f"/keys/{old['id']}").json()["state"] == "revoked"


BAD = [
    ("name", [None, "", "  ", "x" * 81, "a\x00b", "a\nb", "a\u2028b", 7, ["x"]]),
    ("cap_toman", [0, -1, 0.5, 10**11, 10**400, "5", True, []]),
    ("rpm", [0, -1, 1.5, 10**9 + 1, "8", {}]),
    ("tpm", [0, 1e300]),
    ("concurrency", [0, "x"]),
    (
        "expires_at",
        [
            *("", "tomorrow", "2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "2099-01-01", 4_070_908_800),
            *("2200-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"),
            "2099-02-30T00:00:00Z",
        ],
    ),
    ("allowed_models", [None, "a", [7], ["no such model"], [MODEL] * 101, {"a": 1}]),
    (
        "allowed_networks",
        [None, "10.0.0.0/8", [""], ["10.0.0.0/33"], ["fe80::1%eth0"], ["localhost"], ["10.0.0.1"] * 51],
    ),
    ("secret", ["hm-mine"]),
    ("spent_toman", [0]),
    ("x" * 5_000, [1]),
]


@pytest.mark.parametrize(("field", "values"), BAD, ids=[field[:20] for field, _values in BAD])
def test_a_wrong_value_is_pointed_out_and_changes_nothing(
    manager: Manager, field: str, values: list[Any]
) -> None:
    made = manager.create()
    for value in values:
        wrong = {"name": "shop", field: value}
        for answer in (
            manager.http.post("/keys", json=wrong),
            manager.http.patch(f"/keys/{made['id']}", json={field: value}),
        ):
            assert refused(answer) == (400, "invalid_value", field[:100]), value
            assert len(answer.content) < 3_000
    page = manager.http.get("/keys").json()
    assert page["data"] == [{name: value for name, value in made.items() if name != "secret"}]


def test_a_key_needs_a_name(manager: Manager) -> None:
    assert refused(manager.http.post("/keys", json={"rpm": 5})) == (400, "invalid_value", "name")
    assert refused(manager.http.post("/keys")) == (400, "invalid_value", "name")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'"x"', b'{"name": "\\ud800"}', b"\xff", b"[" * 5_000]
)
def test_a_body_that_is_no_json_object_is_refused(manager: Manager, body: bytes) -> None:
    answer = manager.http.post("/keys", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in {"invalid_json", "invalid_value"}


def test_a_huge_body_is_refused(manager: Manager) -> None:
    assert refused(manager.http.post("/keys", content=b" " * 100_000))[:2] == (413, "request_too_large")


@pytest.mark.parametrize("grace", [-1, 604_801, 0.5, "1", None, 10**400])
def test_a_wrong_grace_is_pointed_out(manager: Manager, grace: Any) -> None:
    address = f"/keys/{manager.create()['id']}/rotate"
    answer = manager.http.post(
        address, content=f'{{"grace_seconds": {"null" if grace is None else repr(grace)}}}'
    )
    if grace is None:
        assert answer.status_code == 201
    elif grace == "1":
        assert answer.status_code == 400
    else:
        assert refused(answer) == (400, "invalid_value", "grace_seconds")


# --- whose keys --------------------------------------------------------------------------------------------------


def test_keys_of_others_and_of_nobody_are_not_there(
    manager: Manager, make_manager: Callable[..., Manager]
) -> None:
    theirs = make_manager().create()
    session = lifecycle.session_key(user_id=manager.user_id).key_id
    for key_id in (theirs["id"], session, 10**18 - 1, 10**30, 0, "abc", "-1", "1.0", "%DB%B1", "a%00b"):
        answers = [
            manager.http.get(f"/keys/{key_id}"),
            manager.http.patch(f"/keys/{key_id}", json={"name": "mine"}),
            manager.http.delete(f"/keys/{key_id}"),
            manager.http.post(f"/keys/{key_id}/rotate"),
        ]
        for answer in answers:
            assert refused(answer)[:2] == (404, "key_not_found"), key_id
    assert manager.http.get("/keys").json()["data"] == []
    assert APIKey.objects.get(pk=theirs["id"]).revoked_at is None


def test_the_limits_of_the_key_pages_hold(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        APIKey(
            user_id=manager.user_id,
            name="many",
            digest=f"{manager.user_id} {number}".encode(),
            pepper_version=1,
            last_four="abcd",
            created_at=timezone.now() - timedelta(hours=30),
        )
        for number in range(lifecycle.MAX_ACTIVE_KEYS)
    ]
    APIKey.objects.bulk_create(rows)
    answer = manager.http.post("/keys", json={"name": "one too many"})
    assert refused(answer)[:2] == (409, "too_many_keys")
    assert "1,000" in answer.json()["error"]["message"]
    APIKey.objects.filter(user_id=manager.user_id).update(
        revoked_at=timezone.now(), created_at=timezone.now() - timedelta(hours=23)
    )
    late = manager.http.post("/keys", json={"name": "today"})
    assert refused(late)[:2] == (429, "rate_limit_exceeded")
    assert 3_000 < int(late.headers["retry-after"]) <= 3_600
    page = manager.http.get("/keys", params={"limit": 1_000}).json()
    assert (len(page["data"]), page["has_more"]) == (1_000, False)


def test_no_key_is_given_out_after_a_changed_number(manager: Manager) -> None:
    key = manager.create()
    user = UserFactory._meta.model.objects.get(pk=manager.user_id)
    user.no_new_keys_until = timezone.now() + timedelta(hours=24)
    user.save(update_fields=["no_new_keys_until"])
    assert refused(manager.http.post("/keys", json={"name": "x"}))[:2] == (403, "no_new_keys")
    assert refused(manager.http.post(f"/keys/{key['id']}/rotate"))[:2] == (403, "no_new_keys")
    assert manager.http.get(f"/keys/{key['id']}").json()["state"] == "active"


# --- ETags -------------------------------------------------------------------------------------------------------


def test_a_change_of_an_older_version_is_refused(manager: Manager) -> None:
    made = manager.create()
    address, old = f"/keys/{made['id']}", made["etag"]
    changed = manager.http.patch(address, json={"name": "first"}, headers={"If-Match": old})
    assert changed.status_code == 200
    late = {"If-Match": old}
    for answer in (
        manager.http.patch(address, json={"name": "second"}, headers=late),
        manager.http.delete(address, headers=late),
        manager.http.post(f"{address}/rotate", headers=late),
        manager.http.patch(address, json={"name": "second"}, headers={"If-Match": "nonsense"}),
    ):
        assert refused(answer)[:2] == (412, "precondition_failed")
    assert manager.http.get(address).json()["name"] == "first"
    for named in ("*", f'"other", {changed.headers["etag"]}', f"W/{changed.headers['etag']}"):
        assert manager.http.patch(address, json={}, headers={"If-Match": named}).status_code == 200


def test_a_key_that_is_used_keeps_its_version(manager: Manager) -> None:
    made = manager.create(cap_toman=100)
    lifecycle.touch({made["id"]: timezone.now()})
    Budget.objects.filter(wallet_id=manager.user_id).update(spent_micro=5)
    said = manager.http.get(f"/keys/{made['id']}").json()
    assert said["last_used_at"] is not None
    assert said["etag"] == made["etag"]


def test_of_changes_at_once_to_one_version_one_is_made(manager: Manager) -> None:
    made = manager.create()
    address, head = f"{manager.http.base_url}keys/{made['id']}", dict(manager.http.headers)

    def rename(http: httpx.Client, number: int) -> int:
        headers = {**head, "If-Match": made["etag"]}
        return http.patch(address, json={"name": f"name {number}"}, headers=headers).status_code

    assert sorted(at_once(rename, range(8), threads=8)) == [200] + [412] * 7


# --- the log of changes ------------------------------------------------------------------------------------------


def test_every_change_is_written_down_with_its_admin_key(manager: Manager) -> None:
    made = manager.create(cap_toman=5)
    address = f"/keys/{made['id']}"
    manager.http.patch(address, json={"cap_toman": 9, "rpm": 3})
    new = manager.http.post(f"{address}/rotate").json()
    manager.http.delete(f"/keys/{new['id']}")
    rows = changes.page(user_id=manager.user_id).rows
    assert [(row.action, row.changes) for row in reversed(rows)][1:3] == [
        ("created", {"cap_toman": [None, 5]}),
        ("changed", {"rpm": [None, 3], "cap_toman": [5, 9]}),
    ]
    assert [row.action for row in rows] == ["revoked", "created", "rotated", "changed", "created", "created"]
    assert {(row.actor, row.actor_key_id, row.address) for row in rows[:-1]} == {
        ("admin_key", manager.admin_key.key_id, "127.0.0.1")
    }


# --- caps that begin anew, and projects --------------------------------------------------------------------------


def test_a_cap_begins_anew_and_goes_from_one_period_to_another(manager: Manager) -> None:
    made = manager.create(cap_toman=7, cap_period="month")
    resets_at = bounds(Period.MONTH, timezone.now())[1]
    assert (made["cap_period"], made["resets_at"]) == ("month", f"{resets_at:%Y-%m-%dT%H:%M:%S.%fZ}")
    Budget.objects.filter(wallet_id=manager.user_id).update(spent_micro=micro_from_toman(3))
    address = f"/keys/{made['id']}"
    raised = manager.http.patch(address, json={"cap_toman": 9}).json()
    assert (raised["cap_toman"], raised["cap_period"], raised["spent_toman"]) == (9, "month", 3)
    daily = manager.http.patch(address, json={"cap_period": "day"}).json()
    assert (daily["cap_toman"], daily["cap_period"], daily["spent_toman"]) == (9, "day", 0)
    assert daily["etag"] != raised["etag"]
    wrong = manager.http.patch(address, json={"cap_period": "year"})
    assert refused(wrong) == (400, "invalid_value", "cap_period")
    again = {name: daily[name] for name in ("cap_toman", "cap_period", "rpm")}
    assert manager.http.patch(address, json=again).json() == daily  # as it was read, so it can be sent
    without = manager.create()
    assert (without["cap_period"], without["resets_at"]) == (None, None)
    for answer in (
        manager.http.patch(f"/keys/{without['id']}", json={"cap_period": "day"}),
        manager.http.post("/keys", json={"name": "x", "cap_period": "day"}),
    ):
        assert refused(answer) == (400, "invalid_value", "cap_period")
    assert manager.http.patch(f"/keys/{without['id']}", json={"cap_period": None}).status_code == 200


def test_a_key_is_made_in_a_project_of_the_account_and_in_no_other(manager: Manager) -> None:
    project = projects.create(user_id=manager.user_id, name="Shop")
    theirs = projects.create(user_id=UserFactory.create().pk, name="Shop")
    assert manager.create(project_id=project)["project_id"] == project
    assert manager.create(project_id=None)["project_id"] is None
    for wrong in (theirs, 2**62):
        answer = manager.http.post("/keys", json={"name": "shop", "project_id": wrong})
        assert refused(answer) == (404, "project_not_found", None)
    for senseless in (0, 1.5, "1", 2**63):
        answer = manager.http.post("/keys", json={"name": "shop", "project_id": senseless})
        assert refused(answer) == (400, "invalid_value", "project_id")
    made = manager.create(project_id=project)["id"]
    moved = manager.http.patch(f"/keys/{made}", json={"project_id": None})
    assert refused(moved) == (400, "invalid_value", "project_id")
