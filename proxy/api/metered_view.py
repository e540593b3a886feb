"""What the views of all metered endpoints do: parse, ask once, answer."""

from typing import cast

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.errors import busy
from proxy.http import throttling
from proxy.http.parsing import JSONObjectParser, Payload
from proxy.http.request import underlying
from proxy.http.responses import COST_HEADER
from proxy.http.streaming import EventStream
from proxy.http.views import AsyncAPIView
from proxy.metering import admission
from proxy.metering.admission import PricedRequest
from proxy.metering.call import MeteredCall, PaidAnswer
from proxy.metering.endpoint import MeteredRequest


class MeteredView(AsyncAPIView):
    """POSTs of one endpoint, which says how its bodies are read."""

    parser_classes = (JSONObjectParser,)
    throttle_classes = (throttling.KeyThrottle,)
    prompt_estimate = 0

    def required_model(self, payload: Payload) -> str:
        """The id of the model that a body asks for. Raises APIError for what no model could answer."""
        raise NotImplementedError

    def read_request(self, payload: Payload, *, model: str) -> MeteredRequest:
        """Raises APIError."""
        raise NotImplementedError

    async def post(self, request: Request) -> HttpResponseBase:
        now, raw, key = runtime.current(), underlying(request), cast(KeyIdentity, request.auth)
        if now.upstreams.is_full():
            raise busy()
        try:
            priced = await self._read(request, key)
            self.prompt_estimate = priced.request.prompt_estimate
            await self.check_throttles(request)
        except BaseException:
            throttling.release(raw, key)  # a large body was counted before it was read
            raise
        call = MeteredCall(now, priced, key=key, request_id=raw.id)
        if priced.ends_with_its_client:
            answer = await raw.while_connected(call.answer(), on_left=call.client_left)
        else:
            answer = await call.answer()
        if isinstance(answer, PaidAnswer):
            raw.extra_headers[COST_HEADER] = f"{answer.cost_toman:.7f}".rstrip("0").rstrip(".")
            return HttpResponse(answer.body, content_type="application/json")
        return EventStream(answer)

    async def _read(self, request: Request, key: KeyIdentity) -> PricedRequest:
        now, body = runtime.current(), await self.read_body(request)
        async with now.intake.turn(len(body)):
            return self.priced(self.parse(body), key=key)

    def priced(self, payload: Payload, *, key: KeyIdentity) -> PricedRequest:
        """Raises APIError for what cannot be asked of any model, or of this one, or with this key."""
        model = admission.find_model(runtime.current(), self.required_model(payload), key=key)
        return admission.price(self.read_request(payload, model=model.model_id), model)
