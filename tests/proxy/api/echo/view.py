"""POST /v1/echo: an endpoint of a test's own, billed per character, for which nothing else had to be changed."""

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from proxy.api.metered_view import MeteredView
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.errors import APIError
from proxy.http.parsing import Payload
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer, StreamedAnswer
from proxy.upstreams.protocols import UpstreamProtocol


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    text: str
    report: ClassVar = None
    units: ClassVar = None

    @property
    def estimate(self) -> int:
        return len(self.text)

    at_least = estimate
    at_most = estimate

    @property
    def size(self) -> "EchoAnswer":
        return self

    def for_customer(self, bill: Bill) -> bytes:
        return msgspec.json.encode({"text": self.text, "characters": bill.usage.completion_tokens})


@dataclass(frozen=True, slots=True)
class EchoRequest:
    endpoint: ClassVar = "echo"
    affinity: ClassVar = b""
    prompt_field: ClassVar = "text"
    units: ClassVar = None
    stream: ClassVar = False
    answers: ClassVar = 1
    inputs: ClassVar[dict[str, str]] = {}
    prompt_estimate: ClassVar = 0
    conversation: ClassVar = None

    model: str
    text: str

    @property
    def output_limit(self) -> int:
        return len(self.text)

    def protocol_for(self, route: ServedRoute) -> UpstreamProtocol:
        return UpstreamProtocol("echo", "/echo")

    def upstream_headers(self, route: ServedRoute) -> dict[str, str]:
        return {}

    def left_out(self, route: ServedRoute) -> tuple[str, ...]:
        return ()

    def prompt_bound(self, model: ServedModel) -> int:
        return 0

    def cannot_fit(self, context_tokens: int) -> bool:
        return len(self.text) > context_tokens

    def default_output_limit(self, model: ServedModel) -> int:
        return self.output_limit

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        return msgspec.json.encode({"model": route.upstream_model, "text": self.text})

    def is_reported_by(self, route: ServedRoute) -> bool:
        return False

    def read_whole(self, body: bytes, route: ServedRoute) -> EchoAnswer:
        try:
            return msgspec.json.decode(body, type=EchoAnswer)
        except msgspec.MsgspecError:
            raise BadAnswer("no echo") from None

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        raise NotImplementedError

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return {}


class Echo(MeteredView):
    endpoint = "echo"

    def required_model(self, payload: Payload) -> str:
        return _text(payload, "model")

    def read_request(self, payload: Payload, *, model: str) -> EchoRequest:
        return EchoRequest(model, _text(payload, "text"))


def _text(payload: Payload, name: str) -> str:
    value: Any = msgspec.json.decode(payload.fields.get(name, b"null"))
    if not isinstance(value, str) or not value:
        raise APIError("invalid_value", param=name, message=f'The "{name}" field must be a text.')
    return value
