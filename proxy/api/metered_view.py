"""What the views of all metered endpoints do: parse, ask once, answer."""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from django.conf import settings

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api import origin
from proxy.errors import busy
from proxy.http import throttling
from proxy.http.parsing import JSONObjectParser, Payload
from proxy.http.request import APIRequest
from proxy.http.responses import COST_HEADER, JSON, LEFT_OUT_HEADER, Reply
from proxy.http.streaming import EVENT_STREAM_HEADERS, EventStream
from proxy.http.views import AsyncAPIView
from proxy.metering import admission, known_prefixes
from proxy.metering.admission import PricedRequest
from proxy.metering.awaited import AwaitedRelay
from proxy.metering.call import MeteredCall, PaidAnswer
from proxy.metering.endpoint import MeteredRequest
from proxy.metering.relay import Relay


class MeteredView(AsyncAPIView):
    """POSTs of one endpoint, which says how its bodies are read. `endpoint`: see proxy.catalogue.endpoints."""

    endpoint: ClassVar[str]
    parser_classes = (JSONObjectParser,)
    throttle_classes = (throttling.KeyThrottle,)
    prompt_estimate = 0
    end_user = ""  # as the body names it
    answer_type = JSON  # of whole answers

    def required_model(self, payload: Payload) -> str:
        """The id of the model that a body asks for. Raises APIError for what no model could answer."""
        raise NotImplementedError

    def read_request(self, payload: Payload, *, model: str) -> MeteredRequest:
        """Raises APIError."""
        raise NotImplementedError

    def sends_events(self, request: MeteredRequest) -> bool:
        """Whether a streamed answer is made of events: only these can carry signs of life."""
        return True

    def stream_headers(self, request: MeteredRequest, relay: Relay) -> Mapping[str, str]:
        return EVENT_STREAM_HEADERS

    async def post(self, request: APIRequest) -> Reply | EventStream:
        now, key = runtime.current(), request.key
        if now.upstreams.is_full():
            raise busy()
        try:
            priced = await self.read(request, key)
            comes_from = origin.of(request, named=self.end_user)
            self.prompt_estimate = priced.request.prompt_estimate
            prefixes = known_prefixes.look_up(now, priced.request, priced.model, user_id=key.user_id)
            await self.check_throttles(request)
        except BaseException:
            throttling.release(request, key)  # a large body was counted before it was read
            raise
        call = MeteredCall(now, priced, key=key, request_id=request.id, prefixes=prefixes, origin=comes_from)
        answer: PaidAnswer | Relay | asyncio.Task[PaidAnswer | Relay]
        if priced.request.stream:
            on_left = call.client_left if priced.ends_with_its_client else None
            seconds = settings.STREAM_PING_SECONDS if self.sends_events(priced.request) else None
            answer = await request.while_connected(call.answer(), on_left=on_left, seconds=seconds)
            if isinstance(answer, asyncio.Task):
                return EventStream(AwaitedRelay(answer, call.says, on_left=on_left, request_id=request.id))
        else:
            answer = await call.answer()
        if names := call.left_out:
            request.extra_headers[LEFT_OUT_HEADER] = ", ".join(names)
        if not isinstance(answer, PaidAnswer):
            return EventStream(answer, self.stream_headers(priced.request, answer))
        cost = f"{answer.cost_toman:.7f}".rstrip("0").rstrip(".")
        return Reply(answer.body, content_type=self.answer_type, headers={COST_HEADER: cost})

    async def read(self, request: APIRequest, key: KeyIdentity) -> PricedRequest:
        now, body = runtime.current(), await self.read_body(request)
        async with now.intake.turn(len(body)):
            payload: Payload = self.parse(body)
            self.end_user = origin.named_in_fields(payload.fields)
            return self.priced(payload, key=key)

    def priced(self, payload: Payload, *, key: KeyIdentity) -> PricedRequest:
        """Raises APIError for what cannot be asked of any model, or of this one, or with this key."""
        model = admission.find_model(
            runtime.current(), self.required_model(payload), key=key, endpoint=self.endpoint
        )
        return admission.price(self.read_request(payload, model=model.model_id), model)
