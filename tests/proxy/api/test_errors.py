"""Every row of the contract's error table, met over HTTP, to the letter."""

import contextlib
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from django.db import connection

from keys import lifecycle
from keys.projects import people, projects
from keys.secret import generate
from proxy.errors import ERRORS
from tests.factories import UserFactory
from tests.fake_upstream import FakeUpstream, respond
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import DEAD_MODEL, HELLO, MODEL, Caller

CONTRACT = {
    "missing_api_key": (401, "invalid_request_error", "You must provide an API key in the Authorization header."),
    "invalid_api_key": (401, "invalid_request_error", "Invalid API key provided."),
    "insufficient_balance": (402, "insufficient_quota", "Insufficient wallet balance. Please top up your account."),
    "rate_limit_exceeded": (429, "rate_limit_error", "Rate limit exceeded. Please retry after a minute."),
    "invalid_json": (400, "invalid_request_error", "Invalid JSON in request body."),
    "method_not_allowed": (405, "invalid_request_error", "Method not allowed for this endpoint."),
    "model_required": (400, "invalid_request_error", 'The "model" field is required.'),
    "messages_required": (
        400, "invalid_request_error", 'The "messages" field is required and must be a non-empty array.',
    ),
    "model_not_found": (404, "invalid_request_error", "The requested model is not available."),
    "invalid_messages": (400, "invalid_request_error", 'Each message must have a valid "role" and "content".'),
    "not_found": (404, "invalid_request_error", "The requested endpoint does not exist."),
    "upstream_error": (502, "server_error", "Upstream AI service is temporarily unavailable."),
    "internal_error": (500, "server_error", "An internal server error occurred."),
}  # fmt: skip


def assert_error(response: httpx.Response, code: str, *more: str) -> dict[str, Any]:
    """`more`: what its error says besides."""
    status, type_, message = CONTRACT[code]
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "solution", "docs", *more}
    assert (error["code"], error["type"], error["message"]) == (code, type_, message)
    return dict(error)


def test_the_table_is_the_contracts() -> None:
    assert {code: ERRORS[code] for code in CONTRACT} == CONTRACT


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dXNlcjpwYXNz", "hm-nothing"])
def test_a_request_without_a_key_is_refused(web: WebProcess, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = httpx.post(f"{web.url}/v1/chat/completions", json={}, headers=headers)
    assert_error(response, "missing_api_key")


def test_a_key_in_the_query_string_is_no_key(caller: Caller) -> None:
    for name in ("key", "api_key", "Authorization"):
        response = httpx.get(f"{caller.web.url}/v1/models", params={name: caller.key})
        assert_error(response, "missing_api_key")


@pytest.mark.parametrize(
    "key",
    [
        "hm-short",
        "sk-abc",
        "hm-" + "a" * 36,
        "hm-\xff\xfe",
        "x" * 5000,
        pytest.param(generate(), id="well formed"),
    ],
)
def test_a_key_that_is_not_ours_is_refused(web: WebProcess, key: str) -> None:
    response = httpx.get(
        f"{web.url}/v1/models", headers={b"Authorization": b"Bearer " + key.encode("latin-1")}
    )
    assert_error(response, "invalid_api_key")


def test_a_revoked_key_stops_working(caller: Caller) -> None:
    assert caller.ask().status_code == 200
    lifecycle.revoke(user_id=caller.wallet.pk, key_id=caller.key_id)
    eventually(lambda: caller.ask().status_code != 200, seconds=5)
    assert_error(caller.ask(), "invalid_api_key")


def test_an_empty_wallet_is_told_to_top_up_and_nothing_goes_upstream(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller(credit_micro=0)
    response = caller.ask()
    error = response.json()["error"]
    assert (error.pop("available_toman"), error.pop("max_tokens_that_fit")) == (0, 0)
    assert error.pop("required_toman") > 0
    assert error.pop("solution")
    assert error.pop("docs")
    assert error == {
        "message": CONTRACT["insufficient_balance"][2],
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_balance",
    }
    assert "x-ratelimit-remaining-requests" in response.headers
    assert upstream.requests == []


def test_the_limit_of_requests_a_minute(make_caller: Any) -> None:
    caller = make_caller(rpm=2)
    assert [caller.ask().status_code for _ in range(2)] == [200, 200]
    response = caller.ask()
    error = assert_error(response, "rate_limit_exceeded", "limit", "limit_of", "limited_model")
    assert (error["limit"], error["limit_of"], error["limited_model"]) == ("requests_per_minute", "key", None)
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert response.headers["x-ratelimit-limit-requests"] == "2"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"


DEEP = b'{"model":"m","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
SURROGATE = b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"12",
        b"{'model': 1}",
        b"\x00",
        b"\xff\xfe{}",
        b'{"a":NaN}',
        DEEP,
        SURROGATE,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_object_is_refused(caller: Caller, body: bytes) -> None:
    with caller.http as http:
        assert_error(http.post("/chat/completions", content=body), "invalid_json")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "TRACE"])
def test_another_method_is_refused_and_the_right_one_named(caller: Caller, method: str) -> None:
    with caller.http as http:
        response = http.request(method, "/chat/completions")
    assert_error(response, "method_not_allowed")
    assert response.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "fields", [{}, {"model": ""}, {"model": "  "}, {"model": None}, {"model": 5}, {"model": ["m"]}]
)
def test_a_missing_model(caller: Caller, fields: dict[str, Any]) -> None:
    with caller.http as http:
        response = http.post("/chat/completions", json={"messages": HELLO, **fields})
    assert assert_error(response, "model_required")["param"] == "model"


@pytest.mark.parametrize(
    "fields", [{}, {"messages": []}, {"messages": None}, {"messages": "hi"}, {"messages": {"0": {}}}]
)
def test_missing_messages(caller: Caller, fields: dict[str, Any]) -> None:
    with caller.http as http:
        response = http.post("/chat/completions", json={"model": MODEL, **fields})
    assert assert_error(response, "messages_required")["param"] == "messages"


@pytest.mark.parametrize("model", ["gpt-nothing", "a\x00b", "مدل", MODEL + " ", "x" * 10_000])
def test_a_model_that_is_not_sold(caller: Caller, model: str) -> None:
    assert_error(caller.ask(model=model), "model_not_found")
    with caller.http as http:
        assert_error(http.get("/models/gpt-nothing"), "model_not_found")


@pytest.mark.parametrize(
    "message",
    [
        "hi", None, 5, [], {}, {"role": "user"}, {"content": "hi"}, {"role": "robot", "content": "hi"},
        {"role": ["user"], "content": "hi"}, {"role": "user", "content": None}, {"role": "user", "content": 5},
        {"role": "user", "content": {}}, {"role": "user", "content": []}, {"role": "user", "content": ["hi"]},
        {"role": "user", "content": [{"text": "no type"}]},
    ],
    ids=repr,
)  # fmt: skip
def test_a_message_that_is_none(caller: Caller, message: Any) -> None:
    error = assert_error(caller.ask(messages=[*HELLO, message]), "invalid_messages")
    assert error["param"] == "messages[1]"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/rerank",
        "/v1/chat",
        "/v1//chat/completions",
        "/v1/chat/completions/x",
        "/v1/%00",
        "/v1/engines?x=<b>",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_endpoint_that_does_not_exist_is_json_for_browsers_too(
    web: WebProcess, path: str, method: str
) -> None:
    response = httpx.request(method, web.url + path, headers={"Accept": "text/html"})
    assert_error(response, "not_found")


def test_an_upstream_that_is_away(caller: Caller) -> None:
    assert_error(caller.ask(model=DEAD_MODEL), "upstream_error")
    assert_error(caller.ask(model=DEAD_MODEL, stream=True), "upstream_error")


@pytest.mark.parametrize("status", [301, 302, 401, 402, 403, 404, 500, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_in_trouble_is_not_the_clients_fault(
    caller: Caller, upstream: FakeUpstream, status: int, stream: bool
) -> None:
    upstream.script = respond(
        status, {"error": {"message": "sk-upstream-secret of org-1 is broke", "code": 7}}
    )
    assert_error(caller.ask(stream=stream), "upstream_error")
    assert caller.balance()[0] == 10**12
    assert caller.usage().billed_by == "nothing"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"error":{"message":"in a 200"}}',
    ],
)
def test_an_upstream_whose_answer_makes_no_sense(
    caller: Caller, upstream: FakeUpstream, answer: bytes
) -> None:
    upstream.script = respond(200, answer)
    assert_error(caller.ask(), "upstream_error")
    assert caller.balance()[0] == 10**12


@pytest.mark.parametrize(
    "body",
    [
        {
            "error": {
                "message": "temperature must be at most 2",
                "param": "temperature",
                "code": None,
                "type": "x",
            }
        },
        [{"error": {"code": 400, "message": "temperature must be at most 2", "status": "INVALID_ARGUMENT"}}],
    ],
    ids=["openai", "gemini"],
)
def test_upstreams_own_refusal_is_passed_on_in_the_openai_shape(
    caller: Caller, upstream: FakeUpstream, body: Any
) -> None:
    upstream.script = respond(400, body)
    with pytest.raises(openai.BadRequestError) as caught:
        caller.sdk.chat.completions.create(model=MODEL, messages=HELLO, temperature=9)
    assert "temperature must be at most 2" in str(caught.value)
    assert caught.value.code is None or isinstance(caught.value.code, str)
    assert upstream.requests[0]["temperature"] == 9
    assert caller.usage().outcome == "refused"
    assert caller.balance()[0] == 10**12


REFUSALS: dict[str, tuple[int, Any, str]] = {
    "fastapi": (422, {"detail": "Unexpected fields in the request: {'x'}"}, "Unexpected fields in the request: {'x'}"),
    "fastapi's list": (422, {"detail": [{"loc": ["body", "top_p"], "msg": "too hot"}]}, "top_p: too hot"),
    "vllm": (400, {"object": "error", "message": "too hot", "type": "BadRequestError", "code": 400}, "too hot"),
    "ollama": (400, {"error": "too hot"}, "too hot"),
    "openrouter": (
        400,
        {"error": {"message": "Provider error", "code": 400, "metadata": {"raw": '{"error":{"message":"too hot"}}'}}},
        "too hot",
    ),
    "moderation": (403, {"error": {"message": "Your input was flagged", "code": 403}}, "Your input was flagged"),
    "plain words": (400, b"missing field `content` at line 1", "missing field `content` at line 1"),
    "problem": (451, {"title": "Gone away", "detail": "Not in this land", "status": 451}, "Not in this land"),
    "conflict": (409, {"message": "too hot"}, "too hot"),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSALS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_form_of_a_refusal_keeps_its_status_and_words(
    caller: Caller, upstream: FakeUpstream, form: str, stream: bool
) -> None:
    status, body, message = REFUSALS[form]
    upstream.script = respond(status, body)
    response = caller.ask(stream=stream)
    error = response.json()["error"]
    assert error.pop("solution")
    assert error.pop("docs")
    param = "top_p" if form == "fastapi's list" else None
    said = {"message": message, "type": "invalid_request_error", "code": None, "param": param}
    assert (response.status_code, error) == (status, said)
    assert len(upstream.requests) == 1
    assert caller.usage().outcome == "refused"
    assert caller.balance() == (10**12, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_without_eyes_refuses_a_picture_as_the_requests_fault(
    caller: Caller, upstream: FakeUpstream, stream: bool
) -> None:
    """llama.cpp's answer."""
    message = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    upstream.script = respond(500, {"error": {"code": 500, "message": message, "type": "server_error"}})
    response = caller.ask(stream=stream)
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": 400, "message": "request (9 tokens) exceeds the available context size (2 tokens)",
                         "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 2}}),
        (400, {"error": {"message": "litellm.ContextWindowExceededError: This model's maximum context length is 9. "
                                    "Received Model Group=up-model", "code": "400"}}),
        (400, {"object": "error", "message": "The prompt is longer than the maximum model length of 9", "code": 400}),
    ],
    ids=["llama.cpp", "LiteLLM", "vLLM"],
)  # fmt: skip
def test_a_full_context_is_what_sdks_know_it_by(
    caller: Caller, upstream: FakeUpstream, status: int, body: Any
) -> None:
    upstream.script = respond(status, body)
    with pytest.raises(openai.BadRequestError) as caught:
        caller.sdk.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "up-model" not in str(caught.value)
    assert "litellm" not in str(caught.value)


def test_a_refusal_leaks_neither_key_nor_address(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(
        400, {"error": {"message": f"bad call to {upstream.url} with sk-upstream-secret"}}
    )
    message = caller.ask().json()["error"]["message"]
    assert "sk-upstream-secret" not in message
    assert str(upstream.port) not in message


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota"])
def test_upstreams_rate_limit_is_said_in_our_words(caller: Caller, upstream: FakeUpstream, code: str) -> None:
    upstream.script = respond(429, {"error": {"message": "org-secret is over its quota", "code": code}})
    assert_error(caller.ask(), "rate_limit_exceeded")


def test_an_internal_error_charges_nothing_and_leaves_no_hold(caller: Caller) -> None:
    """The database is made to refuse this key's usage records, as a defect of ours would make it."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE proxy_usagerecord ADD CONSTRAINT defect CHECK (key_id <> {caller.key_id}) NOT VALID"
        )
    try:
        assert_error(caller.ask(), "internal_error")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE proxy_usagerecord DROP CONSTRAINT defect")
    assert caller.balance() == (10**12, 0)


def test_a_body_beyond_the_cap_is_refused_before_it_is_read(caller: Caller) -> None:
    with caller.http as http:
        response = http.post("/chat/completions", content=b" " * 3_000_000)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
        chunked = http.post("/chat/completions", content=iter([b" " * 1_000_000] * 50))
        assert (chunked.status_code, chunked.json()["error"]["code"]) == (413, "request_too_large")


def test_a_compressed_body_is_refused(caller: Caller) -> None:
    with caller.http as http:
        response = http.post("/chat/completions", content=b"x", headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0},
        {"n": "2"},
        {"n": 1000},
        {"max_tokens": -1},
        {"max_tokens": "9"},
        {"stream": "yes"},
        {"stream_options": 5},
    ],
)
def test_a_field_that_money_depends_on_must_make_sense(caller: Caller, fields: dict[str, Any]) -> None:
    response = caller.ask(**fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_value", next(iter(fields)))


def test_neither_code_nor_param_of_a_refusal_leaks(caller: Caller, upstream: FakeUpstream) -> None:
    secret = f"sk-upstream-secret at {upstream.url}"
    upstream.script = respond(400, {"error": {"message": "no", "code": secret, "param": secret}})
    text = caller.ask().text
    assert "sk-upstream-secret" not in text
    assert str(upstream.port) not in text


@pytest.mark.parametrize("status", [400, 500])
def test_what_upstream_says_of_a_prompt_is_not_logged(
    caller: Caller, upstream: FakeUpstream, status: int
) -> None:
    upstream.script = respond(status, {"error": {"message": "not allowed: 'my secret diary'"}})
    caller.ask(messages=[{"role": "user", "content": "my secret diary"}])
    eventually(lambda: caller.usage().id.hex in caller.web.log)
    assert "my secret diary" not in caller.web.log


def test_an_upload_that_stalls_is_ended(caller: Caller) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n"
    with socket.create_connection(("127.0.0.1", caller.web.port), timeout=10) as raw:
        raw.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        answer = raw.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_method_that_is_no_http_method_is_refused(caller: Caller) -> None:
    """The parser knows RTSP's methods, and a view has a method of that name."""
    head = f"SETUP /v1/models RTSP/1.0\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", caller.web.port), timeout=10) as raw:
        raw.sendall(head.encode())
        answer = raw.recv(10_000)
    assert answer.split()[1] == b"405"


def test_an_absurd_number_of_messages_is_refused(caller: Caller) -> None:
    assert_error(caller.ask(messages=HELLO * 20_001), "invalid_messages")


def test_an_endless_header_is_cut_off(web: WebProcess) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as raw:
        raw.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := raw.recv(1000):  # until it is closed, which is the point
                answer += part
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_endless_trailers_are_cut_off(web: WebProcess) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as raw:
        raw.sendall(head)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 8_000_000:
                sent += raw.send(b"X: " + b"a" * 8_000 + b"\r\n")
    assert sent < 8_000_000


def test_a_member_of_a_project_is_not_told_what_its_owner_has(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(credit_micro=1)
    owner, member = caller.wallet.pk, UserFactory.create()
    project = projects.create(user_id=owner, name="Shop")
    people.invite(user_id=owner, project_id=project, mobile=member.mobile, role=projects.Role.MEMBER)
    people.accept(user_id=member.pk, project_id=project)
    body = {"model": MODEL, "messages": HELLO}
    told = []
    for maker in (None, member.pk):
        made = lifecycle.create(user_id=owner, name="x", project_id=project, created_by_id=maker)
        head = {"Authorization": f"Bearer {made.secret}"}
        answer = httpx.post(f"{caller.web.url}/v1/chat/completions", json=body, headers=head)
        assert answer.status_code == 402
        told.append(
            {"required_toman", "available_toman", "max_tokens_that_fit"} & set(answer.json()["error"])
        )
    assert told == [{"required_toman", "available_toman", "max_tokens_that_fit"}, {"required_toman"}]
