"""POST /v1/chat/completions: parses, makes one domain call, answers."""

from typing import cast

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api.chat_completions import call as chat_call
from proxy.errors import busy
from proxy.http import throttling
from proxy.http.parsing import JSONObjectParser
from proxy.http.request import underlying
from proxy.http.streaming import EventStream
from proxy.http.views import AsyncAPIView


class ChatCompletions(AsyncAPIView):
    parser_classes = (JSONObjectParser,)
    throttle_classes = (throttling.KeyThrottle,)
    prompt_estimate = 0

    async def post(self, request: Request) -> HttpResponseBase:
        now, raw, key = runtime.current(), underlying(request), cast(KeyIdentity, request.auth)
        if now.upstreams.is_full():
            raise busy()
        try:
            order = await self._read(request, key)
            self.prompt_estimate = order.ask.prompt.estimate
            await self.check_throttles(request)
        except BaseException:
            throttling.release(raw, key)  # a large body was counted before it was read
            raise
        creating = chat_call.create(
            now,
            order,
            key=key,
            request_id=raw.id,
            headers=raw.extra_headers,
        )
        answer = await (raw.while_connected(creating) if order.ends_with_its_client else creating)
        if isinstance(answer, bytes):
            return HttpResponse(answer, content_type="application/json")
        return EventStream(answer)

    async def _read(self, request: Request, key: KeyIdentity) -> chat_call.Order:
        now, body = runtime.current(), await self.read_body(request)
        async with now.intake.turn(len(body)):
            return chat_call.take(now, self.parse(body), key=key)
