"""What the views of all metered endpoints do: parse, ask once, answer."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from django.conf import settings

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api import origin
from proxy.errors import APIError, busy
from proxy.http import throttling
from proxy.http.parsing import JSONObjectParser, Payload
from proxy.http.request import APIRequest
from proxy.http.responses import (
    COST_HEADER,
    JSON,
    LEFT_OUT_HEADER,
    ORIGINAL_HEADER,
    REPLAYED_HEADER,
    Reply,
    cost_text,
)
from proxy.http.streaming import EVENT_STREAM_HEADERS, EventStream
from proxy.http.views import AsyncAPIView
from proxy.idempotency import claims, digests
from proxy.idempotency.claims import Claim, Repeated
from proxy.metering import admission, known_prefixes
from proxy.metering.admission import PricedRequest
from proxy.metering.awaited import AwaitedRelay
from proxy.metering.call import MeteredCall, PaidAnswer
from proxy.metering.endpoint import MeteredRequest
from proxy.metering.relay import Relay
from proxy.wire import traces
from wallet.money import MICRO_PER_TOMAN

CONTENT_TYPE = "content-type"


class MeteredView(AsyncAPIView):
    """POSTs of one endpoint, which says how its bodies are read. `endpoint`: see proxy.catalogue.endpoints."""

    endpoint: ClassVar[str]
    parser_classes = (JSONObjectParser,)
    throttle_classes = (throttling.KeyThrottle,)
    prompt_estimate = 0
    limited_model = ""  # whose own limits count, once it is known
    end_user = ""  # as the body names it
    idempotency_key: str | None = None
    claim: Claim | None = None
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
        request.trace = traces.begin(
            request.header(b"traceparent"),
            endpoint=self.endpoint,
            path=request.path,
            attributes={"hamiran.request_id": request.id_text, "hamiran.key_id": key.key_id},
        )
        if now.upstreams.is_full():
            raise busy()
        self.idempotency_key = claims.key_in(request.every(b"idempotency-key"))
        try:
            priced = await self.read(request, key)
            if request.trace is not None:
                request.trace.is_of(model=priced.model.model_id)
            comes_from = origin.of(request, named=self.end_user)
            self.prompt_estimate = priced.request.prompt_estimate
            self.limited_model = priced.model.model_id
            prefixes = known_prefixes.look_up(now, priced.request, priced.model, user_id=key.user_id)
            await self.check_throttles(request)
        except Repeated as repeated:
            return await self.replay(request, repeated)
        except BaseException:
            throttling.release(request, key)  # a large body was counted before it was read
            raise
        call = MeteredCall(
            now,
            priced,
            key=key,
            request_id=request.id,
            prefixes=prefixes,
            origin=comes_from,
            claim=self.claim,
            trace=request.trace,
        )
        self.keep_with(
            EVENT_STREAM_HEADERS if priced.request.stream else {CONTENT_TYPE: self.answer_type}, call
        )
        answer: PaidAnswer | Relay | asyncio.Task[PaidAnswer | Relay]
        if priced.request.stream:
            on_left = call.client_left if call.ends_with_its_client else None
            seconds = settings.STREAM_PING_SECONDS if self.sends_events(priced.request) else None
            answer = await request.while_connected(call.answer(), on_left=on_left, seconds=seconds)
            if isinstance(answer, asyncio.Task):
                return EventStream(AwaitedRelay(answer, call.says, on_left=on_left, request_id=request.id))
        else:
            answer = await call.answer()
        request.extra_headers.update(left_out(call))
        if not isinstance(answer, PaidAnswer):
            headers = self.stream_headers(priced.request, answer)
            self.keep_with(headers, call)
            return EventStream(answer, headers)
        cost = {COST_HEADER: cost_text(answer.cost_toman)}
        return Reply(answer.body, content_type=self.answer_type, headers=cost)

    async def claim_key(self, request: APIRequest, body_digest: "partial[bytes]") -> None:
        """Of a request with an Idempotency-Key, as soon as its body is known. Raises what Claims.look_up does."""
        if self.idempotency_key is not None:
            user_id = request.key.user_id
            digest = await asyncio.to_thread(body_digest, path=request.path.rstrip("/"), user_id=user_id)
            looking = runtime.current().claims.look_up(
                self.idempotency_key, user_id=user_id, holder=request.key.holder, body_digest=digest
            )
            self.claim = await looking

    def keep_with(self, headers: Mapping[str, str], call: MeteredCall) -> None:
        """What goes with the answer where that is kept for repeats."""
        if self.claim is not None and self.claim.recording is not None:
            self.claim.recording.headers = lambda: {**headers, **left_out(call)}

    async def replay(self, request: APIRequest, repeated: Repeated) -> Reply:
        """The answer of the first request: counted as one more, but not charged. Raises APIError."""
        cost_toman, first_id = repeated.cost_micro / MICRO_PER_TOMAN, repeated.request_id.hex
        about = {ORIGINAL_HEADER: first_id, COST_HEADER: cost_text(cost_toman)}
        try:
            if not request.key.may_use(repeated.model):
                raise APIError("model_not_allowed", param="model")
            if (kept := repeated.kept) is None:
                raise APIError(
                    "idempotency_replayed",
                    facts={"request_id": first_id, "cost_toman": cost_toman},
                    headers={"x-should-retry": "false", **about},
                )
            await self.check_throttles(request)
        finally:
            throttling.release(request, request.key)
        return Reply(kept.body, headers={**kept.headers, REPLAYED_HEADER: "true", **about})

    async def read(self, request: APIRequest, key: KeyIdentity) -> PricedRequest:
        now, body = runtime.current(), await self.read_body(request)
        await self.claim_key(request, partial(digests.of_body, body))
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


def left_out(call: MeteredCall) -> dict[str, str]:
    names = call.left_out
    return {LEFT_OUT_HEADER: ", ".join(names)} if names else {}
