"""What any working key may read of its account: balance, itself, requests, statement."""

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import transaction
from django.utils import timezone

from keys import lifecycle
from keys.projects import projects
from keys.rules import KeyRules
from proxy.api.account.requests import IDS_MAX
from proxy.limits.reads import PER_MINUTE
from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, respond, stream_events
from tests.live import at_once, eventually
from tests.proxy.api.conftest import (
    CREDIT,
    EMBEDDING_MODEL,
    INPUT_PRICE,
    MODEL,
    OUTPUT_PRICE,
    WHOLE_LIST_MODEL,
    Caller,
)
from tests.proxy.api.manage.conftest import make_admin_key
from wallet import alerts
from wallet.credits import gifts
from wallet.ledger import budgets
from wallet.ledger.models import Hold, JournalEntry, Wallet
from wallet.ledger.periods import Period

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
PATHS = ("/balance", "/key", "/transactions", f"/requests/{uuid.UUID(int=0)}")


def get(caller: Caller, path: str, **query: Any) -> httpx.Response:
    with caller.http as http:
        return http.get(path, params=query)


def told(caller: Caller, path: str, **query: Any) -> dict[str, Any]:
    """With numbers as they are written."""
    answer = get(caller, path, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.content, parse_float=Decimal)
    return found


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


# --- the balance -------------------------------------------------------------------------------------------------


def test_the_balance_is_exact_to_the_last_digit(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(credit_micro=98_765_432_101_234_567)
    assert told(caller, "/balance") == {
        "available_toman": Decimal("9876543210.1234567"),
        "held_toman": 0,
        "posted_toman": Decimal("9876543210.1234567"),
        "available_micro": 98_765_432_101_234_567,
        "currency": "IRT",
        "low_balance_threshold_toman": None,
    }
    alerts.choose(user_id=caller.wallet.pk, threshold_micro=50_000 * 10**7)
    assert told(caller, "/balance")["low_balance_threshold_toman"] == 50_000


def test_what_runs_is_held_and_what_ran_is_gone(caller: Caller, upstream: FakeUpstream) -> None:
    read = threading.Event()
    upstream.script = stream_events(STREAM[0], read, *STREAM[1:])
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as answer:
        parts = answer.iter_raw()
        next(parts)
        running = told(caller, "/balance")
        request = told(caller, f"/requests/{answer.headers['x-request-id']}")
        read.set()
        assert list(parts)
    assert running["posted_toman"] == CREDIT // 10**7
    assert running["held_toman"] > 0
    assert running["available_toman"] == running["posted_toman"] - running["held_toman"]
    assert (request["status"], request["held_toman"]) == ("in_progress", running["held_toman"])
    assert datetime.now(UTC) - datetime.fromisoformat(request["started_at"]) < timedelta(minutes=1)
    after = told(caller, "/balance")
    assert (after["available_micro"], after["held_toman"]) == (CREDIT - COST, 0)


def test_a_frozen_wallet_can_be_read(caller: Caller) -> None:
    Wallet.objects.filter(pk=caller.wallet.pk).update(frozen_at=timezone.now())
    assert caller.ask().status_code == 403
    for path in PATHS[:3]:
        assert get(caller, path).status_code == 200


# --- a project's key ---------------------------------------------------------------------------------------------


def test_a_projects_key_reads_of_its_project_and_not_of_the_account(
    make_caller: Callable[..., Caller],
) -> None:
    caller = make_caller()
    project = projects.create(user_id=caller.wallet.pk, name="Shop")
    shared = budgets.open_budget(wallet_id=caller.wallet.pk, limit_micro=100 * COST, period=Period.MONTH)
    projects.change(user_id=caller.wallet.pk, project_id=project, name="Shop", budget_id=shared)
    made = lifecycle.create(user_id=caller.wallet.pk, name="shop", project_id=project)
    theirs = replace(caller, key=made.secret, key_id=made.key_id)
    outside = caller.ask().headers["x-request-id"]
    inside = theirs.ask().headers["x-request-id"]
    for path in ("/balance", "/transactions"):
        assert refused(get(theirs, path)) == (403, "project_key_not_allowed", None)
    assert get(theirs, f"/requests/{outside}").status_code == 404
    assert told(theirs, f"/requests/{inside}")["cost_micro"] == COST
    assert told(caller, f"/requests/{inside}")["cost_micro"] == COST  # its owner sees all
    shown = told(theirs, "/key")["project"]
    assert (shown["id"], shown["name"]) == (project, "Shop")
    assert (shown["cap"]["spent_toman"], shown["cap"]["period"]) == (Decimal(COST) / 10**7, "month")
    record = UsageRecord.objects.get(pk=uuid.UUID(inside))
    assert (record.project_id, record.user_id) == (project, caller.wallet.pk)
    budgets.set_limit(wallet_id=caller.wallet.pk, budget_id=shared, limit_micro=COST)
    assert refused(theirs.ask()) == (402, "project_limit_reached", None)
    assert caller.ask().status_code == 200


# --- the key -----------------------------------------------------------------------------------------------------


def test_a_key_knows_itself_and_what_is_left(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(rpm=7, tpm=9_000, concurrency=2)
    caller.ask()
    key = told(caller, "/key")
    assert datetime.fromisoformat(key.pop("created_at")) <= datetime.now(UTC)
    assert key == {
        "object": "key",
        "name": "test",
        "hint": f"hm-…{caller.key[-4:]}",
        "project": None,
        "expires_at": None,
        "tier": caller.wallet.user.tier.name,
        "limits": {
            "requests_per_minute": {"limit": 7, "used": 1, "remaining": 6},
            "tokens_per_minute": {"limit": 9_000, "used": 21, "remaining": 8_979},
            "concurrency": {"limit": 2, "used": 0, "remaining": 2},
        },
        "account_limits": {
            "requests_per_minute": {"limit": 35, "used": 1, "remaining": 34},
            "tokens_per_minute": {"limit": 45_000, "used": 21, "remaining": 44_979},
            "concurrency": {"limit": 10, "used": 0, "remaining": 10},
        },
        "cap": None,
        "allowed_models": [],
        "allowed_networks": [],
    }


def test_reading_counts_for_none_of_the_limits_of_calls(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(rpm=2, tpm=9_000, concurrency=1)
    for path in PATHS * 30:
        get(caller, path)
    assert told(caller, "/key")["limits"]["requests_per_minute"] == {"limit": 2, "used": 0, "remaining": 2}
    assert [caller.ask().status_code for _ in range(3)] == [200, 200, 429]
    assert get(caller, "/balance").status_code == 200


def test_the_rules_of_a_key_and_its_cap_are_told(caller: Caller) -> None:
    expires_at = timezone.now() + timedelta(days=3)
    budget_id = budgets.open_budget(wallet_id=caller.wallet.pk, limit_micro=50 * COST)
    rules = KeyRules(
        expires_at=expires_at,
        allowed_models=(WHOLE_LIST_MODEL, MODEL),
        allowed_networks=("127.0.0.0/8",),
        rpm=5,
        budget_id=budget_id,
    )
    lifecycle.change(user_id=caller.wallet.pk, key_id=caller.key_id, name="shop", rules=rules)
    eventually(lambda: told(caller, "/key")["cap"] is not None)
    caller.ask()
    key = told(caller, "/key")
    assert (key["name"], key["allowed_networks"]) == ("shop", ["127.0.0.0/8"])
    assert key["allowed_models"] == sorted([WHOLE_LIST_MODEL, MODEL])
    assert abs(datetime.fromisoformat(key["expires_at"]) - expires_at) < timedelta(milliseconds=1)
    assert key["limits"]["requests_per_minute"] == {"limit": 5, "used": 1, "remaining": 4}
    toman = Decimal(COST) / 10**7
    assert key["cap"] == {
        "limit_toman": 50 * toman,
        "spent_toman": toman,
        "held_toman": 0,
        "remaining_toman": 49 * toman,
        "period": "forever",
        "resets_at": None,
    }


def test_a_key_that_does_not_work_reads_nothing(caller: Caller) -> None:
    lifecycle.change(
        user_id=caller.wallet.pk,
        key_id=caller.key_id,
        name="test",
        rules=KeyRules(allowed_networks=("192.0.2.0/24",)),
    )
    eventually(lambda: get(caller, "/balance").status_code == 403)
    for path in PATHS:
        assert refused(get(caller, path))[:2] == (403, "network_not_allowed")
        without = httpx.get(f"{caller.web.url}/v1{path}")
        assert refused(without)[:2] == (401, "missing_api_key")


@pytest.mark.parametrize("scopes", [["usage:read"], ["keys:read", "keys:write"]])
def test_an_admin_key_reads_with_the_scope_for_it(caller: Caller, scopes: list[str]) -> None:
    request_id = caller.ask().headers["x-request-id"]
    admin = Caller(make_admin_key(caller.wallet.pk, scopes=scopes).secret, 0, caller.wallet, caller.web)
    for path in ("/balance", "/transactions", f"/requests/{request_id}"):
        answer = get(admin, path)
        if "usage:read" in scopes:
            assert answer.json() == get(caller, path).json()
        else:
            assert refused(answer)[:2] == (403, "insufficient_scope")
    assert refused(get(admin, "/key"))[:2] == (403, "admin_key_not_allowed")


# --- requests ----------------------------------------------------------------------------------------------------


def test_a_request_is_told_whole(caller: Caller) -> None:
    answer = caller.ask()
    request = told(caller, f"/requests/{answer.headers['x-request-id']}")
    began, ended = (datetime.fromisoformat(request.pop(name)) for name in ("started_at", "ended_at"))
    assert began <= ended <= datetime.now(UTC) < began + timedelta(minutes=1)
    record = caller.usage()
    assert request == {
        "id": answer.headers["x-request-id"],
        "object": "request",
        "status": "completed",
        "http_status": 200,
        "endpoint": "chat",
        "model": MODEL,
        "stream": False,
        "client_request_id": None,
        "end_user": None,
        "key": {"name": "test", "hint": f"hm-…{caller.key[-4:]}"},
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 9,
            "total_tokens": 21,
            "prompt_tokens_details": {"cached_tokens": 0},
            "cost_details": json.loads(answer.text, parse_float=Decimal)["usage"]["cost_details"],
        },
        "cost_toman": Decimal(COST) / 10**7,
        "cost_micro": COST,
        "billed_by": "usage",
        "first_byte_ms": record.first_byte_ms,
        "total_ms": record.total_ms,
    }


def test_every_component_of_a_longer_list_is_told_as_in_the_answer(
    caller: Caller, upstream: FakeUpstream
) -> None:
    usage = {
        "prompt_tokens": 60,
        "completion_tokens": 9,
        "total_tokens": 69,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "up",
        "choices": [choice],
        "usage": usage,
    }
    upstream.script = respond(200, body)
    answer = caller.ask(model=WHOLE_LIST_MODEL)
    paid = json.loads(answer.text, parse_float=Decimal)["usage"]
    request = told(caller, f"/requests/{answer.headers['x-request-id']}")
    assert {"reasoning", "cached_input", "request"} <= paid["cost_details"].keys()
    assert request["usage"]["cost_details"] == paid["cost_details"]
    assert request["cost_toman"] == paid["cost_toman"] == caller.usage().cost_micro / Decimal(10**7)


def test_any_form_of_an_id_finds_it_and_any_key_of_the_account(caller: Caller) -> None:
    request_id = caller.ask().headers["x-request-id"]
    other = lifecycle.create(user_id=caller.wallet.pk, name="other")
    colleague = Caller(other.secret, other.key_id, caller.wallet, caller.web)
    dashed = str(uuid.UUID(request_id))
    for form in (request_id, dashed, dashed.upper(), f"req_{request_id}", f"chatcmpl-{request_id}"):
        assert told(colleague, f"/requests/{form}")["id"] == request_id


def test_what_the_account_does_not_have_is_not_found(make_caller: Callable[..., Caller]) -> None:
    mine, theirs = make_caller(), make_caller()
    foreign = theirs.ask().headers["x-request-id"]
    for wanted in (foreign, uuid.uuid4().hex, "chatcmpl-9Xk2", "x" * 3_000, "%00", "۱۲۳", "lookup"):
        assert refused(get(mine, f"/requests/{wanted}")) in {
            (404, "request_not_found", None),
            (405, "method_not_allowed", None),  # of "lookup", which is another address
        }
    with mine.http as http:
        found = http.post("/requests/lookup", json={"ids": [foreign, "no id"]}).json()
    assert found == {"object": "list", "data": [], "not_found": [foreign, "no id"]}


def test_many_are_looked_up_at_once_in_their_order(caller: Caller) -> None:
    with caller.http as http:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
        ids = [http.post("/chat/completions", json=body).headers["x-request-id"] for _ in range(5)]
        asked = [*reversed(ids), str(uuid.UUID(ids[0])), *(f"unknown {n}" for n in range(IDS_MAX - 6))]
        assert len(asked) == IDS_MAX
        found = http.post("/requests/lookup", json={"ids": asked})
        one = http.get(f"/requests/{ids[0]}").json()
    assert found.status_code == 200, found.text
    assert [each["id"] for each in found.json()["data"]] == ids[::-1]
    assert found.json()["data"][-1] == one
    assert found.json()["not_found"] == asked[6:]


def test_requests_are_found_by_the_ids_that_clients_gave_them(make_caller: Callable[..., Caller]) -> None:
    mine, theirs = make_caller(), make_caller()
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "user": "customer-7"}
    for caller in (mine, theirs):
        with caller.http as http:
            first, second = (
                http.post("/chat/completions", json=body, headers={"X-Client-Request-Id": "order 1"})
                for _ in range(2)
            )
    with mine.http as http:
        asked = {"client_request_ids": ["order 1", "order 2", "", "\0"], "ids": ["no"]}
        found = http.post("/requests/lookup", json=asked).json()
        one = found["data"][0]
        again = http.post(
            "/requests/lookup", json={"client_request_ids": ["order 1"], "ids": [one["id"]]}
        ).json()
    assert found["not_found"] == ["no", "order 2", "", "\0"]
    assert [each["id"] for each in again["data"]] == [each["id"] for each in found["data"]]
    assert len(found["data"]) == 2
    assert {first.headers["x-request-id"], second.headers["x-request-id"]}.isdisjoint(
        each["id"] for each in found["data"]
    )  # of the other account
    assert {(each["client_request_id"], each["end_user"]) for each in found["data"]} == {
        ("order 1", one["end_user"])
    }
    assert one["end_user"]


@pytest.mark.parametrize(
    "ids", [[], None, "0198", [1], {"a": 1}, [None], [str(n) for n in range(IDS_MAX + 1)], [["x"]]]
)
def test_a_lookup_of_what_are_no_ids_is_refused(caller: Caller, ids: Any) -> None:
    with caller.http as http:
        for body in ({"ids": ids}, {}):
            assert refused(http.post("/requests/lookup", json=body)) == (400, "invalid_value", "ids")
        assert refused(http.post("/requests/lookup", content=b"{"))[:2] == (400, "invalid_json")


def test_what_failed_or_was_refused_cost_nothing(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(500, {"error": {"message": "no"}})
    failed = caller.ask()
    upstream.script = respond(400, {"error": {"message": "no", "type": "invalid_request_error"}})
    declined = caller.ask()
    for answer, status, http_status in ((failed, "upstream_failed", 502), (declined, "refused", 400)):
        assert answer.status_code == http_status
        request = told(caller, f"/requests/{answer.headers['x-request-id']}")
        assert (request["status"], request["http_status"]) == (status, http_status)
        assert (request["cost_toman"], request["cost_micro"], request["billed_by"]) == (0, 0, "nothing")
        assert request["usage"]["cost_details"] == {}
    unknown = caller.ask(model="no-such")
    assert refused(get(caller, f"/requests/{unknown.headers['x-request-id']}"))[0] == 404


# --- the statement -----------------------------------------------------------------------------------------------


def test_the_statement_is_read_line_by_line_in_both_directions(caller: Caller) -> None:
    request_id = caller.ask().headers["x-request-id"]
    with transaction.atomic():
        gifts.give(wallet_id=caller.wallet.pk, amount_micro=70_000_001)
    page = told(caller, "/transactions")
    assert (page["object"], page["has_more"]) == ("list", False)
    gift, paid, credit = page["data"]
    assert (paid["id"], paid["kind"], paid["amount_micro"]) == (request_id, "completion", -COST)
    assert paid["amount_toman"] == Decimal(-COST) / 10**7
    assert paid["balance_micro"] == CREDIT - COST
    assert gift["balance_toman"] == Decimal(CREDIT - COST + 70_000_001) / 10**7
    assert credit["balance_micro"] == CREDIT
    assert datetime.fromisoformat(gift["created_at"]) <= datetime.now(UTC)
    assert page["next_after"] == credit["id"]
    for order, expected in (("desc", page["data"]), ("asc", page["data"][::-1])):
        lines: list[Any] = []
        after: dict[str, str] = {}
        for number in range(3):
            one = told(caller, "/transactions", limit=1, order=order, **after)
            lines += one["data"]
            after = {"after": one["next_after"]}
            assert one["has_more"] == (number < 2)
        assert lines == expected
        beyond = told(caller, "/transactions", order=order, **after)
        assert (beyond["data"], beyond["next_after"]) == ([], after["after"])


def test_what_comes_later_stands_behind_what_was_read(caller: Caller) -> None:
    """A consumer that asks on from the last line misses nothing, whatever is booked at the same time."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}

    def ask(http: httpx.Client, number: int) -> list[str]:
        if number % 2:
            return [http.post("/chat/completions", json=body).headers["x-request-id"]]
        return [line["id"] for line in http.get("/transactions", params={"order": "asc"}).json()["data"]]

    seen = at_once(ask, range(40), threads=8, http=lambda: caller.http)
    whole = [line["id"] for line in told(caller, "/transactions", order="asc")["data"]]
    assert len(whole) == 21
    for lines in seen[::2]:
        assert lines == whole[: len(lines)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "no"}, "after"),
        ({"after": ""}, "after"),
        ({"after": uuid.uuid4().hex}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"order": "up"}, "order"),
    ],
)
def test_a_broken_cursor_limit_or_order_is_refused(caller: Caller, query: dict[str, str], param: str) -> None:
    assert refused(get(caller, "/transactions", **query)) == (400, "invalid_value", param)


def test_another_accounts_line_is_no_cursor(make_caller: Callable[..., Caller]) -> None:
    mine, theirs = make_caller(), make_caller()
    foreign = told(theirs, "/transactions")["data"][0]["id"]
    assert refused(get(mine, "/transactions", after=foreign)) == (400, "invalid_value", "after")


# --- of all of them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/balance", "/transactions"])
def test_it_is_not_sent_again_to_a_client_that_has_it(caller: Caller, path: str) -> None:
    with caller.http as http:
        first = http.get(path)
        again = http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "private, no-cache"
        caller.ask()
        assert http.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200
        head = http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert http.delete(path).json()["error"]["code"] == "method_not_allowed"


def test_so_many_reads_a_minute_are_allowed_and_calls_go_on(caller: Caller) -> None:
    answers = at_once(
        lambda http, _number: http.get("/balance").status_code,
        range(PER_MINUTE + 10),
        threads=8,
        http=lambda: caller.http,
    )
    assert sorted(answers) == [200] * PER_MINUTE + [429] * 10
    for path in PATHS:
        answer = get(caller, path)
        assert refused(answer)[:2] == (429, "rate_limit_exceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 60
    with caller.http as http:
        assert http.post("/requests/lookup", json={"ids": ["x"]}).status_code == 429
    assert caller.ask().status_code == 200


def test_reading_leaves_no_hold_and_books_nothing(caller: Caller) -> None:
    for path in PATHS:
        get(caller, path)
    assert not Hold.objects.filter(wallet=caller.wallet).exists()
    assert JournalEntry.objects.filter(wallet=caller.wallet).count() == 1
    assert Wallet.objects.get(pk=caller.wallet.pk).posted_micro == CREDIT


def test_an_embedding_is_found_too(caller: Caller, upstream: FakeUpstream) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    upstream.script = respond(
        200,
        {"object": "list", "data": [vector], "model": "up", "usage": {"prompt_tokens": 3, "total_tokens": 3}},
    )
    with caller.http as http:
        answer = http.post("/embeddings", json={"model": EMBEDDING_MODEL, "input": "x"})
    request = told(caller, f"/requests/{answer.headers['x-request-id']}")
    assert (request["endpoint"], request["cost_micro"]) == ("embeddings", caller.usage().cost_micro)
