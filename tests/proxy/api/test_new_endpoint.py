"""A new endpoint is its own folder and a line of the URL list: limits, holds, attempts and settlement are shared."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, respond
from tests.live import WebProcess, web_process
from tests.proxy.api.conftest import OUTPUT_PRICE, Caller, add_model, take_off_sale

MODEL = "echo-model"
TEXT = "سلام دنیا"


@pytest.fixture(scope="module")
def echo_web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, web: WebProcess, upstream: FakeUpstream
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock():
        add_model(MODEL, upstream.url, endpoints=["echo"], protocols=["echo"])
    with django_db_blocker.unblock(), web_process(module="tests.proxy.api.echo.web") as process:
        yield process
        take_off_sale(MODEL)


@pytest.fixture
def echo(echo_web: WebProcess, caller: Caller) -> Callable[..., httpx.Response]:
    return echo_of(echo_web, caller)


def echo_of(web: WebProcess, caller: Caller) -> Callable[..., httpx.Response]:
    headers = {"Authorization": f"Bearer {caller.key}"}

    def send(text: str = TEXT) -> httpx.Response:
        body = {"model": MODEL, "text": text}
        return httpx.post(f"{web.url}/v1/echo", json=body, headers=headers, timeout=30)

    return send


def test_an_echo_is_billed_per_character(
    echo: Callable[..., httpx.Response], caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, {"text": TEXT})
    answer = echo()
    assert answer.json() == {"text": TEXT, "characters": len(TEXT)}
    assert upstream.requests == [{"model": "up-model", "text": TEXT}]
    record = caller.usage()
    assert (record.endpoint, record.outcome, record.billed_by) == ("echo", "completed", "estimate")
    assert (record.prompt_tokens, record.completion_tokens) == (0, len(TEXT))
    assert record.cost_micro == len(TEXT) * OUTPUT_PRICE
    assert float(answer.headers["x-hamiran-cost-toman"]) == pytest.approx(record.cost_micro / 10**7)


def test_a_failed_echo_costs_nothing(
    echo: Callable[..., httpx.Response], caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(200, {"no": "text"})
    assert echo().status_code == 502
    upstream.script = respond(400, {"error": {"message": "No echo of this."}})
    assert echo().json()["error"]["message"] == "No echo of this."
    assert sorted(UsageRecord.objects.filter(key_id=caller.key_id).values_list("outcome", "cost_micro")) == [
        ("refused", 0),
        ("upstream_failed", 0),
    ]


def test_an_echo_that_is_not_covered_is_not_asked_for(
    echo_web: WebProcess, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    poor = echo_of(echo_web, make_caller(credit_micro=OUTPUT_PRICE * len(TEXT) - 1))
    assert poor().json()["error"]["code"] == "insufficient_balance"
    assert upstream.requests == []


def test_an_echo_beyond_the_context_names_its_own_field(echo: Callable[..., httpx.Response]) -> None:
    error = echo("a" * 100_001).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "text")
    assert echo("").json()["error"]["param"] == "text"
