"""Where requests come from: ids on every answer, a client's own id, and end users, at every endpoint."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from proxy.api.origin import named_in_fields, named_in_form
from proxy.http.forms import Form
from proxy.http.parsing import read_payload
from proxy.usage.origins import end_user
from tests.fake_upstream import STREAM, FakeUpstream, respond, stream_events
from tests.live import WebProcess
from tests.proxy.api.conftest import EMBEDDING_MODEL, HELLO, MODEL, MODERATION_MODEL, TEXT_MODEL, Caller
from tests.proxy.api.test_http import exchange, one_answer

UUIDS = "f3a1c2d4-0000-4000-8000-000000000001", "f3a1c2d4-0000-4000-8000-000000000002"
DEVICE = "3f" * 32
CLAUDE_CODE = {"device_id": DEVICE, "account_uuid": UUIDS[0], "session_id": UUIDS[1]}


def body(**fields: Any) -> dict[str, msgspec.Raw]:
    return read_payload(json.dumps(fields).encode()).fields


# --- who of the fields counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, ""),
        ({"user": "ali"}, "ali"),
        ({"user": " "}, ""),
        ({"user": None}, ""),
        ({"user": 5}, ""),
        ({"user": ["ali"]}, ""),
        ({"safety_identifier": "sara", "user": "ali"}, "sara"),
        ({"safety_identifier": "", "user": "ali"}, "ali"),
        ({"safety_identifier": None, "user": "ali", "metadata": {"user_id": "x"}}, "ali"),
        ({"metadata": {"user_id": "ali"}}, "ali"),
        ({"metadata": {"user_id": None}}, ""),
        ({"metadata": {"user_id": {"x": 1}}}, ""),
        ({"metadata": "ali"}, ""),
        ({"metadata": None}, ""),
        ({"metadata": {"user_id": f"user_{DEVICE}_account_{UUIDS[0]}_session_{UUIDS[1]}"}}, UUIDS[0]),
        ({"metadata": {"user_id": f"user_{DEVICE}_account__session_{UUIDS[1]}"}}, DEVICE),
        ({"metadata": {"user_id": json.dumps(CLAUDE_CODE)}}, UUIDS[0]),
        ({"metadata": {"user_id": json.dumps(CLAUDE_CODE | {"account_uuid": ""})}}, DEVICE),
        ({"metadata": {"user_id": json.dumps({"session_id": "1"})}}, "1"),
        ({"metadata": {"user_id": '{"account_uuid": 5}'}}, '{"account_uuid": 5}'),
        ({"metadata": {"user_id": "{not JSON"}}, "{not JSON"),
        ({"metadata": {"user_id": "{" * 5_000}}, "{" * 5_000),
    ],
)
def test_one_field_names_the_end_user(fields: dict[str, Any], named: str) -> None:
    assert named_in_fields(body(**fields)) == named


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ([], ""),
        ([("user", " ali ")], "ali"),
        ([("user", "ali"), ("safety_identifier", "sara")], "sara"),
        ([("safety_identifier", " "), ("user", "ali")], "ali"),
    ],
)
def test_so_does_a_field_of_a_form(fields: list[tuple[str, str]], named: str) -> None:
    assert named_in_form(Form(fields, [])) == named


# --- at every endpoint -----------------------------------------------------------------------------------------------

EMBEDDING = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}]}
USAGE = {"prompt_tokens": 5, "total_tokens": 5}
MODERATION = {
    "id": "m",
    "model": "up",
    "results": [{"flagged": False, "categories": {}, "category_scores": {}}],
}
TEXT = {"object": "text_completion", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
USED = {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}
ENDPOINTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "chat/completions": ({"model": MODEL, "messages": HELLO}, CHAT | USED),
    "responses": ({"model": MODEL, "input": "Hello!"}, CHAT | USED),
    "messages": ({"model": MODEL, "messages": HELLO, "max_tokens": 50}, CHAT | USED),
    "completions": ({"model": TEXT_MODEL, "prompt": "Hello!"}, TEXT | USED),
    "embeddings": ({"model": EMBEDDING_MODEL, "input": "Hello!"}, EMBEDDING | {"usage": USAGE}),
    "moderations": ({"model": MODERATION_MODEL, "input": "Hello!"}, MODERATION),
}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_record_says_where_its_request_comes_from(
    caller: Caller, upstream: FakeUpstream, path: str
) -> None:
    asked, answer = ENDPOINTS[path]
    upstream.script = respond(200, answer)
    named: dict[str, Any] = {"metadata": {"user_id": "ali"}} if path == "messages" else {"user": "ali"}
    with caller.http as http:
        told = http.post(path, json=asked | named, headers={"X-Client-Request-Id": "job 7/a"})
    assert told.status_code == 200, told.text
    record = caller.usage()
    ali = end_user("ali", user_id=caller.wallet.pk)
    assert ali is not None
    assert (bytes(record.end_user or b""), record.end_user_hint) == (ali.digest, "ali")
    assert record.client_request_id == "job 7/a"
    assert told.headers["x-hamiran-request-id"] == told.headers["x-request-id"] == record.id.hex


def test_a_request_that_says_nothing_of_it_leaves_them_empty(caller: Caller) -> None:
    assert caller.ask().status_code == 200
    record = caller.usage()
    assert (record.client_request_id, record.end_user, record.end_user_hint) == ("", None, "")


def test_the_session_of_claude_code_counts_where_nothing_else_names_a_user(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, CHAT | USED)
    with caller.http as http:
        http.post(
            "messages",
            json={"model": MODEL, "messages": HELLO, "max_tokens": 50},
            headers={"x-claude-code-session-id": UUIDS[1]},
        )
    assert caller.usage().end_user_hint == UUIDS[1]


@pytest.mark.parametrize("name", ["a\x00b", "\x00", "\u202e", "x" * 100_000, "می‌خواهم \U0001f600"])
def test_a_call_is_paid_whatever_its_user_is_called(caller: Caller, name: str) -> None:
    assert caller.ask(user=name).status_code == 200
    record = caller.usage()
    assert record.cost_micro > 0
    assert 0 < len(record.end_user_hint) <= 64
    assert record.end_user is not None


def test_a_failed_request_has_an_origin_too(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(400, {"error": {"message": "no"}})
    assert caller.ask(user="ali").status_code == 400
    assert caller.usage().end_user_hint == "ali"


def test_a_streamed_request_has_an_origin_too(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*STREAM)
    with caller.http as http:
        asked = {"model": MODEL, "messages": HELLO, "stream": True, "safety_identifier": "sara"}
        told = http.post("chat/completions", json=asked, headers={"x-client-request-id": "s-1"})
    record = caller.usage()
    assert (record.end_user_hint, record.client_request_id) == ("sara", "s-1")
    assert told.headers["x-hamiran-request-id"] == record.id.hex


# --- a client's own id ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["x" * 129, "job\t7", "کار"])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_an_id_that_cannot_be_kept_is_refused(
    caller: Caller, upstream: FakeUpstream, path: str, given: str
) -> None:
    with caller.http as http:
        asked = {"model": MODEL, "messages": HELLO, "max_tokens": 5}
        told = http.post(path, json=asked, headers={b"X-Client-Request-Id": given.encode()})
    assert told.status_code == 400
    error = told.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "X-Client-Request-Id")
    assert "128" in error["message"]
    assert upstream.requests == []
    assert caller.balance()[1] == 0


def test_an_id_of_128_characters_is_kept(caller: Caller) -> None:
    given = "".join(map(chr, range(33, 127))) + "x" * 34
    with caller.http as http:
        told = http.post(
            "chat/completions",
            json={"model": MODEL, "messages": HELLO},
            headers={"X-Client-Request-Id": given},
        )
    assert told.status_code == 200
    assert caller.usage().client_request_id == given


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/nothing"),
        ("GET", "/healthz"),
        ("PUT", "/v1/responses"),
        ("POST", "/nowhere"),
    ],
)
def test_every_answer_has_its_id_twice(web: WebProcess, method: str, path: str) -> None:
    answer = httpx.request(method, web.url + path, headers={"Accept": "*/*"})
    assert len(answer.headers["x-hamiran-request-id"]) == 32
    assert answer.headers["x-hamiran-request-id"] == answer.headers["x-request-id"]


def test_so_has_what_could_not_be_read(web: WebProcess) -> None:
    _status, headers, _body = one_answer(exchange(web, b"nonsense\r\n\r\n"))
    assert headers["x-hamiran-request-id"] == headers["x-request-id"]
