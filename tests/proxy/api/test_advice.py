"""Every error says what to do next and where it is explained, in the client's language."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest
from django.utils import translation

from proxy.advice import ADVICE
from proxy.errors import ERRORS
from tests.fake_upstream import STREAM, FakeUpstream, respond, stream_events
from tests.live import WebProcess
from tests.proxy.api.conftest import HELLO, MODEL, Caller
from tests.proxy.api.test_http import exchange, one_answer

LANGUAGES = pytest.mark.parametrize(
    ("language", "header"), [("en", {}), ("fa", {"Accept-Language": "fa-IR"})]
)


def advice_on(code: str, language: str) -> str:
    with translation.override(language):
        return str(ADVICE[code])


def assert_advised(error: dict[str, Any], code: str, language: str) -> None:
    assert error["solution"] == advice_on(code, language)
    assert error["docs"].endswith(f"/docs/#error-{code}")


@LANGUAGES
def test_an_error_is_advised_on_in_the_clients_language(
    caller: Caller, language: str, header: dict[str, str]
) -> None:
    with caller.http as http:
        told = http.post("/chat/completions", json={"model": MODEL}, headers=header).json()["error"]
    _status, kind, message = ERRORS["messages_required"]
    assert (told["message"], told["type"], told["code"]) == (message, kind, "messages_required")
    assert_advised(told, "messages_required", language)


@LANGUAGES
@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/chat/completions", "method_not_allowed"),
        ("POST", "/v1/messages", "missing_api_key"),
        ("POST", "/v1/responses", "missing_api_key"),
        ("GET", "/v1/nothing", "not_found"),
        ("POST", "/chat/completions", "not_found"),
        ("POST", "/nowhere/", "not_found"),
    ],
)
def test_so_are_the_errors_of_the_door(
    web: WebProcess, method: str, path: str, code: str, language: str, header: dict[str, str]
) -> None:
    answer = httpx.request(method, web.url + path, headers={"Accept": "*/*", **header})
    assert answer.status_code == ERRORS[code][0]
    assert_advised(answer.json()["error"], code, language)


def test_what_cannot_be_read_is_advised_on(web: WebProcess) -> None:
    for sent, code in ((b"nonsense\r\n\r\n", "bad_request"), (b"GET /" + b"a" * 70_000, "headers_too_large")):
        _status, _headers, body = one_answer(exchange(web, sent))
        assert_advised(json.loads(body)["error"], code, "en")


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
def test_an_error_in_a_stream_is_advised_on(caller: Caller, upstream: FakeUpstream, path: str) -> None:
    upstream.script = stream_events(*STREAM[:3], cut=True)
    asked: dict[str, Any] = {"model": MODEL, "stream": True}
    asked |= {"input": "Hello!"} if path == "responses" else {"messages": HELLO, "max_tokens": 50}
    with caller.http as http:
        answer = http.post(path, json=asked, headers={"Accept-Language": "fa"})
    assert answer.status_code == 200
    [told] = re.findall(r'"error":(\{.*?\})', answer.text.rpartition("data: {")[2] or answer.text)[-1:] or [
        ""
    ]
    assert advice_on("upstream_error", "fa") in told
    assert "/docs/#error-upstream_error" in told


def test_an_upstreams_own_refusal_is_advised_on(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(400, {"error": {"message": "too hot", "code": "hot", "param": "temperature"}})
    error = caller.ask().json()["error"]
    assert (error["message"], error["code"], error["param"]) == ("too hot", "hot", "temperature")
    assert_advised(error, "invalid_value", "en")


def test_requests_at_once_do_not_hear_each_others_language(web: WebProcess) -> None:
    def ask(number: int) -> tuple[bool, bool]:
        header = {"Accept-Language": "fa"} if number % 2 else {}
        solution = httpx.get(f"{web.url}/v1/models", headers=header).json()["error"]["solution"]
        return bool(number % 2), solution != english

    english = advice_on("missing_api_key", "en")
    with ThreadPoolExecutor(8) as pool:
        assert all(asked == told for asked, told in pool.map(ask, range(64)))


def test_pipelined_requests_do_not_either(web: WebProcess) -> None:
    ask = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n%s\r\n"
    persian, last = b"Accept-Language: fa\r\n", b"Connection: close\r\n"
    answers = exchange(web, ask % persian + ask % last).split(b"HTTP/1.1 401")[1:]
    english = advice_on("missing_api_key", "en").encode()
    assert [english in answer for answer in answers] == [False, True]


def test_the_base_url_of_openais_sdk_can_ask_for_persian(caller: Caller, upstream: FakeUpstream) -> None:
    ways: list[dict[str, Any]] = [
        {"base_url": f"{caller.web.url}/v1?lang=fa"},
        {"base_url": f"{caller.web.url}/v1", "default_query": {"lang": "fa"}},
    ]
    for way in ways:
        with openai.OpenAI(api_key=caller.key, max_retries=0, **way) as sdk:
            assert sdk.chat.completions.create(model=MODEL, messages=HELLO).choices
            with pytest.raises(openai.NotFoundError) as refused:
                sdk.chat.completions.create(model="unheard-of", messages=HELLO)
        body: Any = refused.value.body
        assert_advised(body, "model_not_found", "fa")


def test_the_base_url_of_anthropics_sdk_can_too(caller: Caller) -> None:
    url = f"{caller.web.url}?lang=fa"
    with (
        anthropic.Anthropic(api_key=caller.key, base_url=url, max_retries=0) as sdk,
        pytest.raises(anthropic.NotFoundError) as refused,
    ):
        sdk.messages.create(model="unheard-of", max_tokens=5, messages=HELLO)
    body: Any = refused.value.body
    assert_advised(body["error"], "model_not_found", "fa")
