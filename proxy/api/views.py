"""The API's endpoints. Each parses, makes one domain call, answers."""

import asyncio
import hmac
from typing import cast

import orjson
import prometheus_client
from django.conf import settings
from django.http import HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from keys.lookup import KeyIdentity
from proxy import completions, health, runtime, starter
from proxy.api import throttling
from proxy.api.base import AsyncAPIView
from proxy.api.parsing import JSONObjectParser
from proxy.catalogue import ServedModel
from proxy.errors import APIError
from proxy.handler import EventStream, underlying


def json_response(body: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


class ChatCompletions(AsyncAPIView):
    """POST /v1/chat/completions"""

    parser_classes = (JSONObjectParser,)
    throttle_classes = (throttling.KeyThrottle,)
    prompt_estimate = 0

    async def post(self, request: Request) -> HttpResponseBase:
        now, raw, key = runtime.current(), underlying(request), cast(KeyIdentity, request.auth)
        if now.upstreams.is_full():
            raise completions.busy()
        try:
            order = await self._read(request, key)
            self.prompt_estimate = order.ask.prompt.estimate
            await self.check_throttles(request)
        except BaseException:
            throttling.release(raw, key)  # a large body was counted before it was read
            raise
        creating = completions.create(
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

    async def _read(self, request: Request, key: KeyIdentity) -> completions.Order:
        now, body = runtime.current(), await self.read_body(request)
        async with now.intake.turn(len(body)):
            return completions.take(now, self.parse(body), key=key)


class Models(AsyncAPIView):
    """GET /v1/models: what the key may use."""

    async def get(self, request: Request) -> HttpResponse:
        key = cast(KeyIdentity, request.auth)
        models = [
            model for model in completions.on_sale(runtime.current()).all() if key.may_use(model.model_id)
        ]
        return json_response({"object": "list", "data": [_model(model) for model in models]})

    head = get


class Model(AsyncAPIView):
    """GET /v1/models/{id}; an id can contain slashes."""

    async def get(self, request: Request, model_id: str) -> HttpResponse:
        model = completions.find_model(runtime.current(), model_id, key=cast(KeyIdentity, request.auth))
        return json_response(_model(model))

    head = get


def _model(model: ServedModel) -> dict[str, object]:
    return {"id": model.model_id, "object": "model", "created": model.created, "owned_by": model.owned_by}


class OpenView(AsyncAPIView):
    """What needs no key, and is no part of the API that /v1/openapi.json describes."""

    authentication_classes = ()
    schema = None


class OpenAPI(OpenView):
    """GET /v1/openapi.json"""

    async def get(self, request: Request) -> HttpResponse:
        models = runtime.current().catalogue.all()
        content, etag = await asyncio.to_thread(_document, models[0].model_id if models else starter.MODEL_ID)
        headers = {"ETag": etag, "Cache-Control": "public, max-age=300"}
        if etag in underlying(request).header(b"if-none-match"):
            return HttpResponseNotModified(headers=headers)
        return HttpResponse(content, content_type="application/json", headers=headers)

    head = get


def _document(model_id: str) -> tuple[bytes, str]:
    from proxy.api import openapi  # large, and seldom asked for

    return openapi.document(model_id)


class Metrics(OpenView):
    """GET /metrics for Prometheus, of this process; there only with METRICS_TOKEN set, and for who has it."""

    async def get(self, request: Request) -> HttpResponse:
        given = underlying(request).header(b"authorization").encode()
        if not settings.METRICS_TOKEN or not hmac.compare_digest(
            given, b"Bearer " + settings.METRICS_TOKEN.encode()
        ):
            raise APIError("not_found")
        return HttpResponse(
            prometheus_client.generate_latest(), content_type=prometheus_client.CONTENT_TYPE_LATEST
        )


class Healthz(OpenView):
    """GET /healthz: the process answers."""

    async def get(self, request: Request) -> HttpResponse:
        return json_response({"status": "ok"})

    head = get


class Readyz(OpenView):
    """GET /readyz: PostgreSQL answers and is migrated, settlements get there, the catalogue has been read, and the
    process is not stopping.

    Else 503 with the reasons.

    Valkey is reported, but without it requests are still served, so a process stays in the load balancer.
    """

    async def get(self, request: Request) -> HttpResponse:
        checks = await health.check(runtime.current())
        ready = health.is_ready(checks)
        return json_response({"ready": ready, "checks": checks}, status=200 if ready else 503)

    head = get
