"""Web pages of other origins: shut out unless a setting names them."""

from collections.abc import Iterator

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.http.responses import COST_HEADER
from tests.fake_upstream import STREAM, FakeUpstream, stream_events
from tests.live import WebProcess, web_process
from tests.proxy.api.conftest import HELLO, MODEL, Caller

APP, OTHER = "https://app.example.ir", "https://evil.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,anthropic-version,if-match,x-stainless-os,"
    "x-stainless-retry-count,x-evil",
}


@pytest.fixture(scope="module")
def one_origin(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    with django_db_blocker.unblock(), web_process(env={"CORS_ALLOWED_ORIGINS": APP}) as process:
        yield process


@pytest.fixture(scope="module")
def any_origin(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    with django_db_blocker.unblock(), web_process(env={"CORS_ALLOWED_ORIGINS": "*"}) as process:
        yield process


def preflight(web: WebProcess, path: str = "/v1/chat/completions", origin: str = APP) -> httpx.Response:
    return httpx.options(web.url + path, headers={"Origin": origin, **PREFLIGHT})


def tells_of_cors(response: httpx.Response) -> bool:
    return any(name.startswith("access-control-") for name in response.headers)


def test_it_is_off_unless_it_is_switched_on(web: WebProcess) -> None:
    assert not tells_of_cors(preflight(web))
    answer = httpx.get(f"{web.url}/v1/models", headers={"Origin": APP})
    assert not tells_of_cors(answer)
    assert "vary" not in answer.headers


def test_a_preflight_needs_no_key_and_allows_what_sdks_send(one_origin: WebProcess) -> None:
    response = preflight(one_origin)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == APP
    assert set(response.headers["access-control-allow-methods"].split(", ")) >= {"POST", "PATCH", "DELETE"}
    allowed = set(response.headers["access-control-allow-headers"].split(", "))
    assert allowed >= {"authorization", "content-type", "x-api-key", "idempotency-key", "x-client-request-id"}
    assert allowed >= {"x-stainless-os", "x-stainless-retry-count", "anthropic-version", "if-match"}
    assert "x-evil" not in allowed
    assert int(response.headers["access-control-max-age"]) > 0
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("origin", [OTHER, "null", APP + ".evil.example", APP.upper()])
def test_another_origin_is_allowed_nothing(one_origin: WebProcess, origin: str) -> None:
    assert "access-control-allow-origin" not in preflight(one_origin, origin=origin).headers
    answer = httpx.get(f"{one_origin.url}/v1/models", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_may_read_an_answer_and_its_headers(
    one_origin: WebProcess, caller: Caller, upstream: FakeUpstream, stream: bool
) -> None:
    if stream:
        upstream.script = stream_events(*STREAM)
    answer = httpx.post(
        f"{one_origin.url}/v1/chat/completions",
        json={"model": MODEL, "messages": HELLO, "stream": stream},
        headers={"Origin": APP, "Authorization": f"Bearer {caller.key}"},
        timeout=30,
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert exposed >= {"x-request-id", "x-hamiran-request-id", "retry-after", "x-should-retry", COST_HEADER}
    assert exposed >= {"request-id", "anthropic-ratelimit-tokens-remaining", "x-hamiran-estimated", "etag"}
    assert exposed >= {"idempotent-replayed", "x-hamiran-original-request-id"}
    assert exposed >= {name for name in answer.headers if name.startswith("x-ratelimit-")}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/nothing"])
def test_a_page_may_read_errors_too(any_origin: WebProcess, path: str) -> None:
    answer = httpx.post(any_origin.url + path, headers={"Origin": OTHER}, json={})
    assert answer.status_code in {401, 404, 405}
    assert answer.headers["access-control-allow-origin"] == "*"


def test_pages_and_metrics_are_no_part_of_it(any_origin: WebProcess) -> None:
    for path in ("/metrics", "/healthz", "/language/"):
        assert not tells_of_cors(httpx.get(any_origin.url + path, headers={"Origin": OTHER}))
