"""POST /v1/messages."""

from collections.abc import Mapping
from typing import Any

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api.messages import errors
from proxy.api.messages.request import PASSED_HEADERS, SESSION_HEADERS, read_request, required_model
from proxy.api.metered_view import MeteredView
from proxy.errors import APIError
from proxy.http.parsing import Payload
from proxy.http.request import APIRequest
from proxy.http.responses import JSON, Reply
from proxy.http.streaming import EventStream
from proxy.http.views import AsyncAPIView
from proxy.limits.admission import Admission, Limits, ModelBounds
from proxy.metering import admission
from proxy.metering.admission import PricedRequest


class MessagesAPI(AsyncAPIView):
    """How every answer of this protocol looks: its errors, its headers."""

    request: APIRequest  # type: ignore[assignment]  # not DRF's

    async def dispatch(self, request: APIRequest, *args: Any, **kwargs: Any) -> Reply | EventStream:  # type: ignore[override]
        request.extra_headers["request-id"] = request.id_text
        return await super().dispatch(request, *args, **kwargs)

    def error_reply(self, error: APIError) -> Reply:
        body = errors.encoded(error, request_id=self.request.id_text)
        return Reply(body, status=errors.status_of(error), content_type=JSON, headers=errors.headers(error))

    def limit_headers(
        self, admission: Admission, limits: Limits, of_model: ModelBounds | None
    ) -> Mapping[str, str]:
        return errors.limit_headers(admission, limits, of_model)

    def passed_headers(self) -> dict[str, str]:
        """Those of the client's headers that are read."""
        return self.request.passed_on(*(name.encode() for name in (*PASSED_HEADERS, *SESSION_HEADERS)))


class Messages(MessagesAPI, MeteredView):
    endpoint = "messages"

    def priced(self, payload: Payload, *, key: KeyIdentity) -> PricedRequest:
        asked = required_model(payload)
        model = admission.find_model(runtime.current(), asked, key=key, endpoint=self.endpoint)
        request = read_request(
            payload, model=model, headers=self.passed_headers(), request_id=self.request.id_text
        )
        return admission.price(request, request.served_by(model))
