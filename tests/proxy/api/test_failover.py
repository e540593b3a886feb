"""A model with several upstreams, some of which fail: who is asked, who pays, and when nothing is tried again.

Each test takes models of its own, since a breaker remembers what an upstream did to the test before.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import Any, ClassVar

import httpx
import pytest
from django.utils.http import http_date
from pytest_django import DjangoDbBlocker

from proxy.catalogue import secrets
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.prices.models import Price
from proxy.usage.models import UsageRecord
from tests.fake_upstream import (
    STREAM,
    FakeUpstream,
    Script,
    answer_whole,
    as_asked,
    chunk,
    respond,
    stream_events,
)
from tests.live import WebProcess, eventually, free_port, web_process
from tests.proxy.api.conftest import (
    CREDIT,
    HELLO,
    INPUT_PRICE,
    MAX_OUTPUT,
    OUTPUT_PRICE,
    Caller,
    take_off_sale,
)
from wallet.ledger.models import Hold

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
FEED = "feed"
# How many of each kind the tests here take.
MODELS = {"pair": 60, "single": 50, "capped": 12, "capped-pair": 2}
ENDLESS: list[bytes | float] = [chunk({"content": "word "}), 0.05] * 200


@pytest.fixture(scope="module")
def second() -> Iterator[FakeUpstream]:
    upstream = FakeUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def deaf() -> Iterator[str]:
    """The URL of a host that takes no connection: its queue of those not yet accepted is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.fixture(scope="module")
def web(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    upstream: FakeUpstream,
    second: FakeUpstream,
    deaf: str,
) -> Iterator[WebProcess]:
    """`pair-N` goes to `upstream`, then to `second`; `single-N` and `capped-N` to `upstream` alone.

    A process reads all models that are on sale every few seconds, so they do not stay for those of other tests.
    """
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    with django_db_blocker.unblock():
        add_model(FEED, second.url)
        add_model("deaf first", deaf, second.url)
        add_model("dead first", nowhere, second.url)
        for kind, count in MODELS.items():
            urls = [upstream.url, second.url] if kind.endswith("pair") else [upstream.url]
            for number in range(count):
                add_model(f"{kind}-{number}", *urls, max_in_flight=1 if kind.startswith("capped") else None)
    env = {
        "METRICS_TOKEN": "scraper",
        "UPSTREAM_CONNECT_TIMEOUT_SECONDS": "1",
        "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "1",
        "UPSTREAM_IDLE_TIMEOUT_SECONDS": "1",
    }
    with django_db_blocker.unblock(), web_process(env=env) as process:
        yield process
        take_off_sale(FEED, "deaf first", "dead first")
        take_off_sale(*(f"{kind}-{number}" for kind, count in MODELS.items() for number in range(count)))


def add_model(model_id: str, *urls: str, max_in_flight: int | None = None) -> None:
    """Served at these URLs in this order; `max_in_flight` caps the first; the last bills on when a client leaves."""
    model = LanguageModel.objects.create(
        model_id=model_id, context_tokens=100_000, max_output_tokens=MAX_OUTPUT
    )
    Price.objects.create(
        model=model, input_rial_per_million=INPUT_PRICE, output_rial_per_million=OUTPUT_PRICE
    )
    for number, url in enumerate(urls):
        upstream = Upstream.objects.create(
            name=f"{model_id} {number}",
            base_url=url,
            api_key_encrypted=secrets.encrypt(f"sk-{number}"),
            on_disconnect="drain" if number else "cancel",
            max_in_flight=None if number else max_in_flight,
        )
        Route.objects.create(model=model, upstream=upstream, upstream_model=f"name-{number}", priority=number)


class Fresh:
    """Models that no test had before, one of each kind for a test."""

    _next: ClassVar = {kind: iter(range(count)) for kind, count in MODELS.items()}

    @cached_property
    def pair(self) -> str:
        return self._take("pair")

    @cached_property
    def single(self) -> str:
        return self._take("single")

    @cached_property
    def capped(self) -> str:
        return self._take("capped")

    @cached_property
    def capped_pair(self) -> str:
        return self._take("capped-pair")

    def _take(self, kind: str) -> str:
        return f"{kind}-{next(self._next[kind])}"


@pytest.fixture
def fresh(make_caller: Any, second: FakeUpstream) -> Fresh:
    """Refills the retry budget, too, of which a request earns a tenth."""
    feeder = make_caller()
    second.reset()
    with feeder.http as http:
        for _ in range(12):
            assert http.post("/chat/completions", json={"model": FEED, "messages": HELLO}).status_code == 200
    second.reset()
    return Fresh()


def upstream_id(name: str) -> int:
    return Upstream.objects.get(name=name).pk


async def hang_up(_request: dict[str, Any], _writer: asyncio.StreamWriter) -> None:
    raise ConnectionResetError


async def say_nothing(_request: dict[str, Any], _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3)


def cut_body(length: int, sent: bytes) -> Script:
    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        writer.write(head.encode() + sent)
        await writer.drain()
        raise ConnectionResetError

    return script


STATUSES = {
    str(status): respond(status, {"error": "no"}) for status in (302, 401, 403, 404, 408, 429, 500, 503)
}
BEFORE: dict[str, Script] = {**STATUSES, "hangs up": hang_up}
BEFORE_EVENT: dict[str, Script] = {
    "says nothing": say_nothing,
    "ends": stream_events(),
    "is cut off": stream_events(cut=True),
    "is cut off in an event": stream_events(STREAM[0][:20], cut=True),
    "reports an error": stream_events(b'data: {"error":{"message":"no"}}\n\n'),
    "falls silent": stream_events(3.0),
}


def assert_served_by_the_second(caller: Caller, response: httpx.Response, model: str) -> None:
    assert response.status_code == 200
    usage = caller.usage()
    assert usage.id.hex == response.headers["x-request-id"]
    assert (usage.outcome, usage.cost_micro, usage.upstream_id) == (
        "completed",
        COST,
        upstream_id(f"{model} 1"),
    )
    assert caller.balance() == (CREDIT - COST, 0)
    assert caller.wallet.entries.filter(kind="completion").count() == 1


@pytest.mark.parametrize("failure", BEFORE)
def test_a_whole_answer_comes_from_the_next_upstream(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, failure: str
) -> None:
    upstream.script = BEFORE[failure]
    assert_served_by_the_second(caller, caller.ask(model=fresh.pair), fresh.pair)
    assert [request["model"] for request in upstream.requests] == ["name-0"]
    assert [request["model"] for request in second.requests] == ["name-1"]
    assert second.headers[0]["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("failure", BEFORE | BEFORE_EVENT)
def test_a_stream_comes_from_the_next_upstream(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, failure: str
) -> None:
    upstream.script = (BEFORE | BEFORE_EVENT)[failure]
    second.script = stream_events(*STREAM)
    response = caller.ask(model=fresh.pair, stream=True)
    assert response.content == as_asked(*STREAM[:4], STREAM[5], model=fresh.pair)
    assert_served_by_the_second(caller, response, fresh.pair)
    assert (len(upstream.requests), len(second.requests)) == (1, 1)


def test_a_whole_answer_whose_body_never_begins_comes_from_the_next_upstream(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = cut_body(100, b"")
    assert_served_by_the_second(caller, caller.ask(model=fresh.pair), fresh.pair)


@pytest.mark.parametrize("model", ["dead first", "deaf first"])
def test_an_upstream_that_cannot_be_reached_is_left_for_the_next(
    caller: Caller, fresh: Fresh, model: str
) -> None:
    assert_served_by_the_second(caller, caller.ask(model=model), model)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_request_itself_is_refused_for_is_passed_on_at_once(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, status: int
) -> None:
    upstream.script = respond(status, {"error": {"message": "too hot"}})
    response = caller.ask(model=fresh.pair)
    assert (response.status_code, response.json()["error"]["message"]) == (status, "too hot")
    assert second.requests == []


def test_a_stream_that_breaks_after_its_first_event_is_not_begun_again(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = stream_events(STREAM[0], cut=True)
    response = caller.ask(model=fresh.pair, stream=True)
    assert response.content.startswith(as_asked(STREAM[0], model=fresh.pair))
    assert b'"code":"upstream_error"' in response.content
    assert second.requests == []
    assert caller.balance() == (CREDIT, 0)


def test_a_whole_answer_that_breaks_in_its_body_is_not_begun_again(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = cut_body(100, b'{"choices"')
    response = caller.ask(model=fresh.pair)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert second.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_when_all_fail_nothing_is_charged_and_the_last_one_is_on_record(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, stream: bool
) -> None:
    upstream.script = second.script = respond(401, {"error": "no"})
    response = caller.ask(model=fresh.pair, stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.upstream_id) == (
        "upstream_failed",
        "nothing",
        upstream_id(f"{fresh.pair} 1"),
    )
    assert caller.balance() == (CREDIT, 0)


def test_the_only_upstream_is_asked_again_after_a_broken_connection(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    async def once(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        upstream.script = answer_whole()
        await hang_up(request, writer)

    upstream.script = once
    assert caller.ask(model=fresh.single).status_code == 200
    assert len(upstream.requests) == 2
    assert caller.usage().cost_micro == COST


def test_a_kept_connection_that_was_closed_meanwhile_fails_no_request(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    """Upstream closes after each answer without having said so."""

    async def answer_and_close(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await answer_whole()(request, writer)
        await writer.drain()
        raise ConnectionResetError

    upstream.script = answer_and_close
    assert [caller.ask(model=fresh.single).status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(
    ("said", "wait", "should_retry"),
    [
        ("7", "7", None),
        ("12.5", "13", None),
        ("61", "61", "false"),
        ("86400", "86400", "false"),
        ("999999", "5", None),
        ("soon", "5", None),
        ("-1", "5", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "1", None),
    ],
)
def test_a_rate_limit_of_the_only_upstream_is_passed_on_with_a_wait_that_makes_sense(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh, said: str, wait: str, should_retry: str | None
) -> None:
    upstream.script = respond(429, {}, **{"retry-after": said})
    response = caller.ask(model=fresh.single)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert response.headers["retry-after"] == wait
    assert response.headers.get("x-should-retry") == should_retry
    assert len(upstream.requests) == 1


def test_a_date_to_wait_for_is_passed_on_in_seconds(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = respond(429, {}, **{"retry-after": http_date(time.time() + 40)})
    assert 30 <= int(caller.ask(model=fresh.single).headers["retry-after"]) <= 40


def test_an_upstream_in_trouble_that_names_a_wait_has_it_passed_on(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = respond(503, {}, **{"retry-after": "12.5"})
    response = caller.ask(model=fresh.single)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert response.headers["retry-after"] == "13"


@pytest.mark.parametrize("stream", [False, True])
def test_only_streams_have_to_begin_by_the_first_byte_time_out(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh, stream: bool
) -> None:
    async def late(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.5)
        with suppress(ConnectionError):
            await (stream_events(*STREAM) if stream else answer_whole())(request, writer)

    upstream.script = late
    response = caller.ask(model=fresh.single, stream=stream)
    assert response.status_code == (502 if stream else 200)
    assert caller.balance() == (CREDIT - (0 if stream else COST), 0)


def test_who_leaves_is_billed_by_the_rule_of_the_upstream_that_serves(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = respond(500, {})  # would be told to stop
    second.script = stream_events(*STREAM[:2], 0.5, *STREAM[2:])  # is read to its end
    body = {"model": fresh.pair, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        next(response.iter_raw())
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    usage = caller.usage()
    assert (usage.outcome, usage.billed_by, usage.cost_micro) == ("client_left", "usage", COST)


# --- breakers ----------------------------------------------------------------------------------------------------


def scrape(caller: Caller) -> str:
    return httpx.get(f"{caller.web.url}/metrics", headers={"Authorization": "Bearer scraper"}).text


def test_an_upstream_that_keeps_failing_is_asked_no_more_and_comes_back(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = respond(500, {})
    model = fresh.pair
    assert [caller.ask(model=model).status_code for _ in range(8)] == [200] * 8
    assert (len(upstream.requests), len(second.requests)) == (5, 8)
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 1.0' in scrape(caller)
    assert f'hamiran_upstream_failovers_total{{failed_upstream="{model} 0"}} 5.0' in scrape(caller)
    upstream.script = answer_whole()
    eventually(lambda: caller.ask(model=model).status_code == 200 and len(upstream.requests) > 6)
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 0.0' in scrape(caller)


def test_the_only_upstream_is_asked_even_so(caller: Caller, upstream: FakeUpstream, fresh: Fresh) -> None:
    model = fresh.single
    upstream.script = respond(302, {})
    assert [caller.ask(model=model).status_code for _ in range(7)] == [502] * 7
    assert len(upstream.requests) == 7
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 1.0' in scrape(caller)
    upstream.script = answer_whole()
    assert caller.ask(model=model).status_code == 200
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 0.0' in scrape(caller)


CUSTOMERS = [
    respond(400, {"error": {"message": "too hot"}}),
    respond(403, {"error": {"message": "Your input was flagged", "code": 403}}),
    respond(409, {"detail": "conflict"}),
    respond(413, {"message": "too large"}),
    respond(422, {"detail": "Unexpected fields in the request: {'x'}"}),
    respond(451, {"error": "not here"}),
    respond(500, {"error": {"code": 500, "message": "image input is not supported", "type": "server_error"}}),
    respond(400, {"error": {"code": 400, "message": "full", "type": "exceed_context_size_error"}}),
]


@pytest.mark.parametrize("script", CUSTOMERS)
@pytest.mark.parametrize("stream", [False, True])
def test_what_customers_ask_for_opens_no_breaker(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, script: Script, stream: bool
) -> None:
    model = fresh.pair
    upstream.script = script
    assert {caller.ask(model=model, stream=stream).status_code // 100 for _ in range(12)} == {4}
    assert len(upstream.requests) == 12
    assert second.requests == []
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 0.0' in scrape(caller)
    upstream.script = answer_whole()
    assert caller.ask(model=model).status_code == 200
    assert second.requests == []


@pytest.mark.parametrize("told", [[], STREAM[:2]], ids=["before the first word", "after it"])
@pytest.mark.parametrize("code", [400, 403, 402])
def test_a_4xx_within_a_stream_opens_no_breaker_either(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, told: list[bytes], code: int
) -> None:
    model = fresh.single
    error = {"error": {"message": "Your input was flagged" if code != 402 else "unpaid", "code": code}}
    upstream.script = stream_events(*told, b"data: " + json.dumps(error).encode() + b"\n\n")
    answers = [caller.ask(model=model, stream=True) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200 if told else 502 if code == 402 else code}
    assert all(("flagged" in answer.text) is (code != 402) for answer in answers)
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 0.0' in scrape(caller)
    assert caller.balance() == (CREDIT, 0)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_an_upstream_that_refuses_the_operator_is_passed_over_and_its_breaker_stays_closed(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh, status: int
) -> None:
    model = fresh.pair
    upstream.script = respond(status, {"error": {"message": "no"}})
    assert [caller.ask(model=model).status_code for _ in range(12)] == [200] * 12
    assert (len(upstream.requests) < 12, len(second.requests)) == (True, 12)
    assert f'hamiran_breaker_open{{upstream="{model} 0"}} 0.0' in scrape(caller)
    assert "upstream failed, another try" in caller.web.log


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_the_only_one_that_refuses_the_operator_is_asked_all_the_same(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh, status: int
) -> None:
    model = fresh.single
    upstream.script = respond(status, {"error": {"message": "the bill of org-1 is unpaid"}})
    answers = [caller.ask(model=model) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502] * 3
    assert "org-1" not in answers[0].text
    upstream.script = answer_whole()
    assert caller.ask(model=model).status_code == 200


def test_another_process_leaves_it_alone_too(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = respond(500, {})
    model = fresh.pair
    with web_process(env={"METRICS_TOKEN": "scraper"}) as other:
        assert [caller.ask(model=model).status_code for _ in range(5)] == [200] * 5
        caller.web = other
        caller.ask(model=model)  # with its first call it begins to ask after this upstream's state
        eventually(lambda: f'hamiran_breaker_open{{upstream="{model} 0"}} 1.0' in scrape(caller), seconds=4)
        asked = len(upstream.requests)
        assert caller.ask(model=model).status_code == 200
        assert len(upstream.requests) == asked


# --- caps --------------------------------------------------------------------------------------------------------


def until(gate: threading.Event) -> Script:
    """A stream that stays in the middle until the gate is opened."""

    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        def write(event: bytes) -> None:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))

        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        write(STREAM[0])
        while not gate.is_set():
            write(b": waiting\n\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        for event in STREAM[1:]:
            write(event)
        writer.write(b"0\r\n\r\n")

    return script


def assert_busy(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (503, "service_unavailable")
    assert response.headers["retry-after"] == "1"


def test_an_upstream_has_no_more_calls_at_once_than_it_may(
    make_caller: Any, caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    gate = threading.Event()
    upstream.script = until(gate)
    model, refused = fresh.capped, make_caller()
    body = {"model": model, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        assert_busy(refused.ask(model=model))
        gate.set()
        assert b"".join(parts).endswith(STREAM[5])
    assert refused.usage().billed_by == "nothing"
    assert refused.balance() == (CREDIT, 0)
    upstream.script = answer_whole()
    assert caller.ask(model=model).status_code == 200


def test_what_is_beyond_the_cap_goes_to_the_next_upstream(
    make_caller: Any, caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    gate = threading.Event()
    upstream.script = until(gate)
    model, other = fresh.capped_pair, make_caller()
    body = {"model": model, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        assert_served_by_the_second(other, other.ask(model=model), model)
        gate.set()
        assert b"".join(parts).endswith(STREAM[5])


ENDINGS: dict[str, tuple[bool, Script]] = {
    "whole": (False, answer_whole()),
    "whole, refused": (False, respond(400, {})),
    "whole, failed": (False, respond(401, {})),
    "whole, broken": (False, hang_up),
    "whole, broken in its body": (False, cut_body(100, b"{")),
    "whole, no sense": (False, respond(200, b"<html>")),
    "stream": (True, stream_events(*STREAM)),
    "stream, error first": (True, stream_events(b'data: {"error":"no"}\n\n')),
    "stream, broken": (True, stream_events(*STREAM[:2], cut=True)),
    "stream, silent": (True, stream_events(3.0)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_gives_its_place_back_once(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh, ending: str
) -> None:
    stream, upstream.script = ENDINGS[ending]
    model = fresh.capped
    caller.ask(model=model, stream=stream)
    upstream.script = answer_whole()
    eventually(lambda: caller.ask(model=model).status_code == 200)
    assert_cap_holds(caller, upstream, model)


def test_a_client_that_leaves_gives_its_place_back(
    caller: Caller, upstream: FakeUpstream, fresh: Fresh
) -> None:
    upstream.script = stream_events(*ENDLESS)
    model = fresh.capped
    body = {"model": model, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        next(response.iter_raw())
    eventually(UsageRecord.objects.filter(key_id=caller.key_id).exists)
    upstream.script = answer_whole()
    assert caller.ask(model=model).status_code == 200
    assert_cap_holds(caller, upstream, model)


def assert_cap_holds(caller: Caller, upstream: FakeUpstream, model: str) -> None:
    """A place given back twice would let a second call through."""
    gate = threading.Event()
    asked = len(upstream.requests)
    upstream.script = until(gate)
    answers: list[int] = []
    waiting = threading.Thread(
        target=lambda: answers.append(caller.ask(model=model, stream=True).status_code)
    )
    waiting.start()
    try:
        eventually(lambda: len(upstream.requests) > asked)
        assert_busy(caller.ask(model=model))
    finally:
        gate.set()
        waiting.join(10)
    assert answers == [200]


def test_one_process_runs_no_more_than_it_may_and_no_call_longer_than_it_may(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    """Two settings, one process more: the cap of all calls, and the time for a whole answer that never ends."""
    caller, refused = make_caller(), make_caller()
    upstream.script = stream_events(*ENDLESS)
    body = {"model": "single-0", "messages": HELLO, "stream": True}
    env = {"IN_FLIGHT_MAX": "1", "UPSTREAM_STREAM_TIMEOUT_SECONDS": "2"}
    with web_process(env=env) as web:
        caller.web = refused.web = web
        with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
            parts = response.iter_raw()
            next(parts)
            assert_busy(refused.ask(model="single-1"))
            assert not UsageRecord.objects.filter(key_id=refused.key_id).exists()
            *_words, last, _done, end = b"".join(parts).split(b"\n\n")
        assert json.loads(last.removeprefix(b"data: "))["choices"][0]["finish_reason"] == "length"
        assert end == b""
        upstream.script = answer_whole()
        assert refused.ask(model="single-1").status_code == 200
    usage = caller.usage()  # what was cut off here is paid for as it was relayed
    assert (usage.outcome, usage.billed_by) == ("completed", "estimate")
    assert usage.cost_micro > 0


LONG: list[Any] = [{"role": "user", "content": "one two " * 6_000}]  # 48 kB
LONGER = [*LONG, {"role": "assistant", "content": "three"}, {"role": "user", "content": "four"}]
PLAIN, COUNTED = 48_000, 12_000  # tokens that it may be, and is


def ask_first_turn(caller: Caller, upstream: FakeUpstream, model: str) -> None:
    upstream.script = answer_whole(
        usage={"prompt_tokens": COUNTED, "completion_tokens": 9, "total_tokens": COUNTED + 9}
    )
    assert caller.ask(model=model, messages=LONG, max_tokens=10).status_code == 200
    upstream.script = respond(500, {"error": {"message": "broken"}})


def test_a_prompt_that_another_upstream_has_not_counted_is_held_for_before_it_is_asked(
    caller: Caller, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    model, looked = fresh.pair, threading.Event()
    ask_first_turn(caller, upstream, model)
    usage = {"prompt_tokens": 3 * COUNTED, "completion_tokens": 2, "total_tokens": 3 * COUNTED + 2}
    second.script = stream_events(STREAM[1], looked, *STREAM[2:4], chunk(None, usage=usage), STREAM[5])
    body = {"model": model, "messages": LONGER, "stream": True, "max_tokens": 10}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        held = Hold.objects.get(wallet=caller.wallet).amount_micro
        looked.set()
        assert b"".join(parts).endswith(b"[DONE]\n\n")
    assert PLAIN * INPUT_PRICE < held < 1.1 * PLAIN * INPUT_PRICE
    record = UsageRecord.objects.get(pk=response.headers["x-request-id"])
    assert (record.prompt_tokens, record.uncovered_micro) == (3 * COUNTED, 0)


def test_what_the_wallet_does_not_cover_at_another_upstream_is_not_asked_of_it(
    make_caller: Any, upstream: FakeUpstream, second: FakeUpstream, fresh: Fresh
) -> None:
    caller, model = make_caller(credit_micro=PLAIN * 12 // 10 * INPUT_PRICE), fresh.pair
    ask_first_turn(caller, upstream, model)
    before = caller.balance()
    refused = caller.ask(model=model, messages=LONGER, max_tokens=10)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_balance")
    assert refused.json()["error"]["required_toman"] > refused.json()["error"]["available_toman"]
    assert len(upstream.requests) == 2
    assert second.requests == []
    assert caller.balance() == before
    record = UsageRecord.objects.get(pk=refused.headers["x-request-id"])
    assert (record.outcome, record.status, record.cost_micro) == ("interrupted", 402, 0)
