"""What one request used and cost, by its id or by one that its client gave it."""

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from keys import lifecycle
from proxy.api.account.requests import IDS_MAX
from tests.fake_upstream import FakeUpstream, respond
from tests.proxy.api.account.asking import COST, get, refused, told
from tests.proxy.api.conftest import (
    EMBEDDING_MODEL,
    MODEL,
    WHOLE_LIST_MODEL,
    Caller,
)


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
    colleague = replace(caller, key=other.secret, key_id=other.key_id)
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
