"""POST /v1/messages/count_tokens: how long a prompt is. It costs nothing, and has a limit of its own."""

import asyncio
from typing import Annotated

import msgspec

from proxy import runtime
from proxy.api.messages.request import MessagesRequest, is_native, read_request, required_model
from proxy.api.messages.view import MessagesAPI
from proxy.catalogue.prices.pricing import TOKENS_MAX
from proxy.catalogue.served import ServedModel
from proxy.errors import APIError, rate_limited
from proxy.http.parsing import JSONObjectParser
from proxy.http.request import APIRequest
from proxy.http.responses import Reply, json_response
from proxy.metering import admission
from proxy.upstreams.calls import AllFull, UpstreamFailed, read_all
from proxy.upstreams.protocols import COUNT_TOKENS

ESTIMATED_HEADER = "x-hamiran-estimated"
# Per key, in each process: an agent asks for 35 within two seconds when its context is looked at.
PER_MINUTE = 600
WAIT_SECONDS = 10.0


class CountTokens(MessagesAPI):
    parser_classes = (JSONObjectParser,)

    async def post(self, request: APIRequest) -> Reply:
        now, key = runtime.current(), request.key
        if wait_seconds := now.intake.counts.wait_seconds(key.key_id, 1, limit=PER_MINUTE):
            raise rate_limited(wait_seconds)
        now.intake.counts.add(key.key_id, 1)
        body = await self.read_body(request)
        async with now.intake.turn(len(body)):
            payload = self.parse(body)
            model = admission.find_model(now, required_model(payload), key=key, endpoint="messages")
            asked = read_request(
                payload,
                model=model,
                headers=self.passed_headers(),
                request_id=request.id_text,
                is_counted_only=True,
            )
            admission.price(asked, asked.served_by(model))
        counted = await _counted(asked, model)
        if counted is not None:
            return json_response({"input_tokens": counted})
        reply = json_response({"input_tokens": asked.prompt_estimate})
        reply.headers[ESTIMATED_HEADER] = "true"
        return reply


async def _counted(asked: MessagesRequest, model: ServedModel) -> int | None:
    """What the first upstream of this protocol that answers counts; None where there is none.

    Raises UpstreamRefusal.
    """
    upstreams = runtime.current().upstreams
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    for route in model.routes:
        if not is_native(route) or upstreams.is_full(route):
            continue
        try:
            call = await upstreams.send(
                route,
                COUNT_TOKENS,
                asked.body_to_count(route),
                headers=asked.upstream_headers(route),
                stream=False,
                deadline=deadline,
            )
            try:
                answer = await read_all(call, deadline=deadline)
            finally:
                call.close()
            return msgspec.json.decode(answer, type=_Count).input_tokens
        except (UpstreamFailed, AllFull, msgspec.MsgspecError):
            continue
        except APIError as error:
            if error.status == 429:  # the operator's limit, not the client's
                continue
            raise
    return None


class _Count(msgspec.Struct, gc=False):
    input_tokens: Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]
