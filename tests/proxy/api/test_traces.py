"""Traces of metered calls reach a collector: one span per request, without what was said or who said it."""

import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import DjangoDbBlocker

from proxy.wire import traces
from tests.fake_upstream import STREAM, FakeUpstream, answer_whole, respond, stream_events
from tests.live import WebProcess, eventually, free_port, web_process
from tests.proxy.api.conftest import HELLO, MODEL, Caller
from tests.stand_in import StandIn

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry's packages are not installed: make .venv/dev")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(StandIn):
    """Keeps the spans that it is sent, and the bytes they came in. Where it `hangs`, it takes them and says nothing."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.received = b""
        self.resource: dict[str, Any] = {}
        self.hangs = False
        super().__init__()

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.hangs:
            self.released.wait(30)
            return
        assert handler.path == "/v1/traces"
        self.received += body
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = named(sent.resource)
            for scope in sent.scope_spans:
                self.spans += scope.spans
        handler.send_response(200)
        handler.send_header("content-length", "0")
        handler.end_headers()

    def span_of(self, request_id: str) -> Any:
        """The only one."""

        def found() -> list[Any]:
            return [span for span in self.spans if named(span)["hamiran.request_id"] == request_id]

        eventually(found)
        [span] = found()
        return span


def named(told: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in told.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(web: WebProcess, collector: Collector, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        "TRACE_UPSTREAMS": "true",
    }
    with django_db_blocker.unblock(), web_process(env=env) as process:
        yield process


@pytest.fixture
def traced_caller(caller: Caller, traced: WebProcess, collector: Collector) -> Caller:
    caller.web = traced
    collector.hangs = False
    return caller


def ask(caller: Caller, **headers: str) -> Any:
    with caller.http as http:
        return http.post("/chat/completions", json={"model": MODEL, "messages": HELLO}, headers=headers)


def test_a_streamed_call_is_one_span_below_its_clients_own(
    traced_caller: Caller, upstream: FakeUpstream, collector: Collector
) -> None:
    upstream.script = stream_events(*STREAM)
    with (
        traced_caller.http as http,
        http.stream(
            "POST", "/chat/completions", json={"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 50},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=secret"},
        ) as response,
    ):  # fmt: skip
        response.read()
    span = collector.span_of(response.headers["x-request-id"])
    assert (span.name, span.kind) == (f"chat {MODEL}", span.SPAN_KIND_SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "")
    told = named(span)
    record = traced_caller.usage()
    assert told == told | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.model": "up-model",
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "hamiran.cost_micro": record.cost_micro,
        "hamiran.key_id": traced_caller.key_id,
        "http.response.status_code": 200,
        "url.path": "/v1/chat/completions",
    }
    assert record.first_byte_ms is not None
    assert told["gen_ai.response.time_to_first_chunk"] == record.first_byte_ms / 1000
    assert [event.name for event in span.events] == ["hold", "attempt", "first_token", "settlement"]
    times = [
        span.start_time_unix_nano,
        *(event.time_unix_nano for event in span.events),
        span.end_time_unix_nano,
    ]
    assert times == sorted(times)
    assert collector.resource["service.name"] == "hamiran"
    assert collector.resource["deployment.environment.name"] == "tests"
    # What is called by this request is a part of it.
    assert upstream.headers[0]["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert "tracestate" not in upstream.headers[0]


def test_nothing_that_was_said_and_nobody_who_said_it_is_told(
    traced_caller: Caller, upstream: FakeUpstream, collector: Collector
) -> None:
    upstream.script = answer_whole("The answer is confidential.")
    answer = traced_caller.ask(
        messages=[{"role": "user", "content": "My secret question"}], user="ali@example.com"
    )
    collector.span_of(answer.headers["x-request-id"])
    mobile = str(traced_caller.wallet.user.mobile)
    for unsaid in (
        "confidential",
        "secret question",
        "ali@example",
        traced_caller.key[3:],
        "sk-upstream",
        mobile[3:],
    ):
        assert unsaid.encode() not in collector.received


def test_each_attempt_upstream_is_an_event(
    traced_caller: Caller, upstream: FakeUpstream, collector: Collector
) -> None:
    whole, failing = answer_whole(), respond(503, {"error": {"message": "overloaded"}})

    async def script(request: dict[str, Any], writer: Any) -> None:
        await (failing if len(upstream.requests) == 1 else whole)(request, writer)

    upstream.script = script
    answer = traced_caller.ask()
    assert answer.status_code == 200
    names = [event.name for event in collector.span_of(answer.headers["x-request-id"]).events]
    assert names == ["hold", "attempt", "attempt", "first_token", "settlement"]


def test_a_failure_of_the_upstream_is_told_as_one(
    traced_caller: Caller, upstream: FakeUpstream, collector: Collector
) -> None:
    upstream.script = respond(200, b"no JSON")
    answer = traced_caller.ask()
    assert answer.status_code == 502
    span = collector.span_of(answer.headers["x-request-id"])
    assert (span.status.code, named(span)["error.type"]) == (span.status.STATUS_CODE_ERROR, "502")
    assert named(span)["hamiran.cost_micro"] == 0


def test_what_is_refused_is_told_with_its_status_and_is_no_failure_of_ours(
    traced_caller: Caller, collector: Collector
) -> None:
    answer = traced_caller.ask(model="no-such-model")
    span = collector.span_of(answer.headers["x-request-id"])
    assert (span.name, named(span)["http.response.status_code"]) == ("chat", 404)
    assert span.status.code == span.status.STATUS_CODE_UNSET


def test_a_client_that_does_not_trace_this_request_is_followed(
    traced_caller: Caller, collector: Collector
) -> None:
    unsampled = ask(traced_caller, traceparent=f"00-{TRACE}-{PARENT}-00").headers["x-request-id"]
    collector.span_of(ask(traced_caller).headers["x-request-id"])
    assert unsampled not in {named(span)["hamiran.request_id"] for span in collector.spans}


@pytest.mark.parametrize(
    "parent",
    [b"", b"nonsense", b"00-%b-00f067aa0ba902b7-01" % (b"0" * 32), b"00-" + b"\xe9" * 40, b"0" * 5000],
)
def test_a_parent_that_cannot_be_read_begins_a_trace(
    traced_caller: Caller, collector: Collector, parent: bytes
) -> None:
    asked = {"model": MODEL, "messages": HELLO}
    with traced_caller.http as http:
        answer = http.post("/chat/completions", json=asked, headers=[(b"traceparent", parent)])
    assert answer.status_code == 200
    assert collector.span_of(answer.headers["x-request-id"]).parent_span_id == b""


def test_upstreams_are_told_of_no_trace_unless_the_operator_says_so(
    caller: Caller, upstream: FakeUpstream
) -> None:
    ask(caller, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert "traceparent" not in upstream.headers[0]


@pytest.mark.slow
@pytest.mark.parametrize("where", [pytest.param("nowhere", marks=pytest.mark.proof), "hangs"])
def test_a_collector_that_is_away_holds_up_no_request_and_no_stop(
    caller: Caller, collector: Collector, where: str
) -> None:
    collector.hangs = True
    url = collector.url if where == "hangs" else f"http://127.0.0.1:{free_port()}"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BSP_MAX_QUEUE_SIZE": "20",
           "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"}  # fmt: skip
    with web_process(env=env) as web:
        caller.web = web
        with caller.http as http:
            for _ in range(50):
                answer = http.post("/chat/completions", json={"model": MODEL, "messages": HELLO})
                assert answer.status_code == 200
        began = time.monotonic()
        assert web.stop() == 0
        assert time.monotonic() - began < traces.LAST_SPANS_SECONDS + 10


def test_without_a_collector_nothing_is_begun() -> None:
    assert traces.begin("", endpoint="chat", path="/v1/chat/completions", attributes={}) is None


def test_without_the_packages_the_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ImproperlyConfigured, match="make tracing"):
        traces.start()
