"""An outage is seen on /public/status.json and the page as soon as it is counted; refused requests are not."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from proxy import tasks
from proxy.usage.health import report
from tests.fake_upstream import FakeUpstream, respond
from tests.live import WebProcess, at_once, free_port, web_process
from tests.proxy.api.conftest import HELLO, Caller, add_model, take_off_sale

ANSWERING, OUT, UNUSED = "status/answering", "status/out", "status/unused"


@pytest.fixture(scope="module")
def own_web(
    django_db_setup: None, upstream: FakeUpstream, django_db_blocker: DjangoDbBlocker
) -> Iterator[WebProcess]:
    """A process that nobody has asked for its status yet."""
    with django_db_blocker.unblock():
        add_model(ANSWERING, upstream.url)
        add_model(OUT, f"http://127.0.0.1:{free_port()}/v1")
        add_model(UNUSED, upstream.url)
        with web_process() as process:
            yield process
        take_off_sale(ANSWERING, OUT, UNUSED)


def ask(web: WebProcess, caller: Caller, model: str, *, times: int) -> set[int]:
    def once(http: httpx.Client, _number: int) -> int:
        return http.post(
            f"{web.url}/v1/chat/completions",
            json={"model": model, "messages": HELLO},
            headers={"Authorization": f"Bearer {caller.key}"},
            timeout=30,
        ).status_code

    return set(at_once(once, range(times), threads=6))


def test_an_outage_is_seen_and_refusals_are_not(
    own_web: WebProcess, caller: Caller, upstream: FakeUpstream
) -> None:
    assert ask(own_web, caller, ANSWERING, times=12) == {200}
    upstream.script = respond(400, {"error": {"message": "No such parameter.", "code": "invalid_value"}})
    assert ask(own_web, caller, ANSWERING, times=12) == {400}
    assert ask(own_web, caller, OUT, times=12) == {502}
    tasks.count_health()

    answer = httpx.get(f"{own_web.url}/public/status.json")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["access-control-allow-origin"] == "*"
    told = answer.json()
    models: dict[str, dict[str, Any]] = {model["id"]: model for model in told["data"]}
    assert told["object"] == "status"
    assert told["is_behind"] is False
    answering, out, unused = (models[model] for model in (ANSWERING, OUT, UNUSED))
    assert (answering["state"], answering["last_hour"]["answered_percent"]) == ("up", 100.0)
    assert answering["last_month"]["whole_answer_ms"].keys() == {"p50", "p95"}
    assert (out["state"], out["last_hour"]["answered_percent"], out["hours"][-1]["state"]) == (
        "down",
        0.0,
        "down",
    )
    assert (unused["state"], unused["last_day"]["answered_percent"]) == ("unknown", None)
    assert [len(answering[strip]) for strip in ("hours", "days")] == [24, 30]
    assert "upstream of" not in answer.text

    report.kept.forget()
    browser = Client()
    browser.cookies["hamiran_language"] = "en"
    page = browser.get("/status/")
    assert page.status_code == 200
    assert "not answering" in page.text
    assert "upstream of" not in page.text
    report.kept.forget()
