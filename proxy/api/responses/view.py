"""POST /v1/responses."""

from dataclasses import replace

from keys.lookup import KeyIdentity
from proxy.api.metered_view import MeteredView
from proxy.api.responses.failures import USED_UP
from proxy.api.responses.request import ResponsesRequest, read_request, required_model
from proxy.errors import TOO_MANY_REQUESTS, APIError
from proxy.http.parsing import Payload
from proxy.http.responses import Reply
from proxy.metering.admission import PricedRequest

NOT_AGAIN = {"x-should-retry": "false"}
RETRY_AFTER_SECONDS = "5"


class Responses(MeteredView):
    endpoint = "responses"

    def required_model(self, payload: Payload) -> str:
        return required_model(payload)

    def read_request(self, payload: Payload, *, model: str) -> ResponsesRequest:
        return read_request(payload, model=model)

    def priced(self, payload: Payload, *, key: KeyIdentity) -> PricedRequest:
        priced = super().priced(payload, key=key)
        assert isinstance(priced.request, ResponsesRequest)
        return replace(priced, model=priced.request.served_by(priced.model))

    def error_reply(self, error: APIError) -> Reply:
        """As Codex stops or waits: it asks six times after a 402 and thirty after a 5xx that names no wait."""
        reply = super().error_reply(error)
        if error.code in USED_UP:
            reply.status_code = TOO_MANY_REQUESTS
            reply.headers.update(NOT_AGAIN)
        elif error.status >= 500:
            reply.headers.setdefault("Retry-After", RETRY_AFTER_SECONDS)
        return reply
