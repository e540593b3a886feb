"""Traces for an OpenTelemetry collector: one span per metered request, and nothing at all unless OTEL_* names one.

Names of attributes are those of the GenAI semantic conventions 0.1.0 (all still "development"; the same in 1.41 of the
conventions at large), and `hamiran.…` for what these do not know. Nothing is told of what a prompt or an answer says,
of keys but their ids, or of who somebody is.
"""

import os
import threading
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

LAST_SPANS_SECONDS = 3.0
INSTALL = "OTEL_… names a collector, but the OpenTelemetry packages are not installed: run `make tracing`."
# By our endpoints; what the conventions have no name for keeps its own.
OPERATIONS = {"chat": "chat", "responses": "chat", "messages": "chat", "completions": "text_completion"}

_provider: Any = None
_tracer: Any = None
_context_of: Any = None


class Trace:
    """The span of one request, from when its key was known until its answer has left."""

    __slots__ = ("_span",)

    def __init__(self, span: Any) -> None:
        self._span = span

    def is_of(self, *, model: str) -> None:
        """The model, once the body has been read."""
        self._span.set_attribute("gen_ai.request.model", model)
        self._span.update_name(f"{self._span.name} {model}")

    def event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        self._span.add_event(name, attributes)

    def settled(
        self,
        record: Mapping[str, Any],
        *,
        provider: str,
        upstream: str,
        upstream_model: str,
        max_tokens: int | None,
        cost_micro: int,
        is_failure: bool,
    ) -> None:
        """What the request's usage record says, and who served it."""
        first_ms = record["first_byte_ms"]
        attributes = {
            "gen_ai.provider.name": provider,
            "gen_ai.response.model": upstream_model,
            "gen_ai.request.stream": record["stream"],
            "gen_ai.request.max_tokens": max_tokens,
            "gen_ai.usage.input_tokens": record["prompt_tokens"],
            "gen_ai.usage.cache_read.input_tokens": record["cached_tokens"],
            "gen_ai.usage.output_tokens": record["completion_tokens"],
            "gen_ai.response.time_to_first_chunk": None if first_ms is None else first_ms / 1000,
            "hamiran.upstream": upstream,
            "hamiran.billed_by": record["billed_by"],
            "hamiran.cost_micro": cost_micro,
        }
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        self.event("settlement", {"hamiran.outcome": record["outcome"]})
        if is_failure:
            self.failed(record["outcome"])

    def failed(self, kind: str) -> None:
        """A failure that is not the client's: `kind` is one of few words."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.failed(str(status))

    def end(self) -> None:
        self._span.end()

    @property
    def parent(self) -> str:
        """A `traceparent` that makes what is called next a part of this request."""
        at = self._span.get_span_context()
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"


def begin(parent: str, *, endpoint: str, path: str, attributes: dict[str, Any]) -> Trace | None:
    """A span below the client's own, where its `traceparent` can be read. None where nothing is traced."""
    if _tracer is None:
        return None
    from opentelemetry.trace import SpanKind

    operation = OPERATIONS.get(endpoint, endpoint)
    span = _tracer.start_span(
        operation,
        context=_context_of({"traceparent": parent}),
        kind=SpanKind.SERVER,
        attributes={
            "gen_ai.operation.name": operation,
            "http.request.method": "POST",
            "url.path": path,
            **attributes,
        },
    )
    return Trace(span) if span.is_recording() else None


def start() -> None:
    """Once per web process, where tracing is on. Raises ImproperlyConfigured."""
    global _provider, _tracer, _context_of  # noqa: PLW0603 - one a process
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        raise ImproperlyConfigured(INSTALL) from None
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "hamiran"}
    _provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    # It has a thread and a queue with an end: where nobody takes them, spans are dropped and requests go on.
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("hamiran")
    _context_of = TraceContextTextMapPropagator().extract


def close() -> None:
    """Sends what is left, if that is quickly done: a collector that is away must not hold up the end."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        last = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(LAST_SPANS_SECONDS)
