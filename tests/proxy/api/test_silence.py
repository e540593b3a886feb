"""Nothing comes for a long time: the client is shown that it is not forgotten, and the money does not mind."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, respond, stream_events
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import CREDIT, DRAINED_MODEL, HELLO, MODEL, Caller
from wallet.ledger import holds
from wallet.ledger.models import Hold

PING = b": ping\n\n"
SILENCE = 2.5  # with a sign of life every second


@pytest.fixture(scope="module")
def pinging(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    env = {
        "STREAM_PING_SECONDS": "1",
        "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "4",
        "UPSTREAM_IDLE_TIMEOUT_SECONDS": "4",
        "SHUTDOWN_GRACE_SECONDS": "1",
    }
    with django_db_blocker.unblock(), web_process(env=env) as process:
        yield process


@pytest.fixture
def there(make_caller: Callable[..., Caller], pinging: WebProcess) -> Caller:
    caller = make_caller()
    return replace(caller, web=pinging)


def silent_for(seconds: float, answer: Any) -> Any:
    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await answer(request, writer)

    return script


def error_of(answer: httpx.Response) -> dict[str, Any]:
    *_signs, last, done, end = answer.content.split(b"\n\n")
    assert (done, end) == (b"data: [DONE]", b"")
    error: dict[str, Any] = json.loads(last.removeprefix(b"data: "))["error"]
    return error


def test_a_stream_that_is_long_in_coming_begins_with_signs_of_life(
    there: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*STREAM)
    prompt = there.ask(stream=True).content
    upstream.script = silent_for(SILENCE, stream_events(*STREAM))
    late = there.ask(stream=True)
    assert late.status_code == 200
    assert late.content.startswith(PING)
    assert late.content.replace(PING, b"") == prompt
    first, second = UsageRecord.objects.filter(key_id=there.key_id)
    assert (
        (first.outcome, first.cost_micro)
        == (second.outcome, second.cost_micro)
        == ("completed", first.cost_micro)
    )


def test_signs_of_life_come_in_the_middle_of_a_stream_too(there: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*STREAM[:3], SILENCE, *STREAM[3:])
    answer = there.ask(stream=True)
    assert answer.content.startswith(b"data: ")
    assert PING in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert there.usage().outcome == "completed"


def test_a_stream_that_is_not_silent_shows_none(there: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(
        STREAM[0], *[part for word in [STREAM[1]] * 5 for part in (0.3, word)], *STREAM[2:]
    )
    assert PING not in there.ask(stream=True).content


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (respond(400, {"error": {"message": "Too hot."}}), None),
        (respond(500, {"error": {"message": "no"}}), "upstream_error"),
        (respond(200, b"<html>"), "upstream_error"),
    ],
)
def test_a_failure_after_the_first_sign_is_the_streams_last_event_and_costs_nothing(
    there: Caller, upstream: FakeUpstream, answer: Any, code: str | None
) -> None:
    upstream.script = silent_for(SILENCE / 2, answer)
    failed = there.ask(stream=True)
    assert (failed.status_code, failed.content.startswith(PING)) == (200, True)
    error = error_of(failed)
    assert error["code"] == code
    assert there.balance() == (CREDIT, 0)


def test_a_failure_before_the_first_sign_keeps_its_status(there: Caller, upstream: FakeUpstream) -> None:
    upstream.script = silent_for(0.3, respond(400, {"error": {"message": "Too hot."}}))
    assert there.ask(stream=True).status_code == 400


def test_an_upstream_that_stays_silent_fails_in_the_end(there: Caller, upstream: FakeUpstream) -> None:
    upstream.script = silent_for(30, stream_events(*STREAM))
    failed = there.ask(stream=True)
    assert failed.status_code == 200
    assert error_of(failed)["code"] == "upstream_error"
    assert there.balance() == (CREDIT, 0)


@pytest.mark.parametrize("model", [MODEL, DRAINED_MODEL])
def test_who_leaves_while_nothing_has_come_leaves_no_hold(
    model: str, there: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = silent_for(SILENCE, stream_events(*STREAM))
    body = {"model": model, "messages": HELLO, "stream": True}
    with there.http as http, http.stream("POST", "/chat/completions", json=body) as answer:
        assert next(answer.iter_raw()) == PING
    eventually(lambda: not Hold.objects.filter(wallet=there.wallet).exists())
    usage = there.usage()
    assert usage.outcome == "client_left"
    assert (usage.cost_micro > 0) == (model == DRAINED_MODEL)  # it reads on, and what it read is paid


def test_the_hold_of_a_stream_that_outlasts_it_is_renewed(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = silent_for(2.0, stream_events(STREAM[0], 2.0, *STREAM[1:]))
    swept = []
    with web_process(env={"HOLD_SECONDS": "1"}, module="tests.short_holds_web") as web:
        caller.web = web
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with caller.http as http, http.stream("POST", "/chat/completions", json=body) as answer:
            for _part in answer.iter_raw():
                swept.append(holds.sweep_expired())
    assert len(swept) >= 2
    assert caller.usage().outcome == "completed"
    assert caller.balance() == (CREDIT - caller.usage().cost_micro, 0)


def test_a_server_that_stops_tells_who_waits_and_charges_nothing(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = silent_for(30, stream_events(*STREAM))
    with web_process(env={"STREAM_PING_SECONDS": "1", "SHUTDOWN_GRACE_SECONDS": "1"}) as web:
        caller.web = web
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with caller.http as http, http.stream("POST", "/chat/completions", json=body) as answer:
            parts = answer.iter_raw()
            assert next(parts) == PING
            assert web.stop() == 0
            rest = b"".join(parts)
    assert b'"code":"service_unavailable"' in rest
    assert caller.balance() == (CREDIT, 0)
    assert caller.usage().outcome == "interrupted"
