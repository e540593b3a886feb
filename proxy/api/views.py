"""The API's endpoints. Each parses, makes one domain call, answers."""

import hmac
from typing import cast

import orjson
import prometheus_client
from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from keys.lookup import KeyIdentity
from proxy import completions, health, runtime
from proxy.api.base import AsyncAPIView
from proxy.api.parsing import JSONObjectParser
from proxy.api.throttling import KeyThrottle
from proxy.catalogue import ServedModel
from proxy.errors import APIError
from proxy.handler import EventStream, underlying


def json_response(body: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


class ChatCompletions(AsyncAPIView):
    """POST /v1/chat/completions"""

    parser_classes = (JSONObjectParser,)
    throttle_classes = (KeyThrottle,)
    prompt_estimate = 0

    async def post(self, request: Request) -> HttpResponseBase:
        now, raw = runtime.current(), underlying(request)
        if now.upstreams.is_full():
            raise completions.busy()
        order = completions.take(now, await self.parse(request))
        self.prompt_estimate = order.ask.prompt.estimate
        await self.check_throttles(request)
        answer = await completions.create(
            now,
            order,
            key=cast(KeyIdentity, request.auth),
            request_id=raw.id,
            headers=raw.extra_headers,
        )
        if isinstance(answer, bytes):
            return HttpResponse(answer, content_type="application/json")
        return EventStream(answer)


class Models(AsyncAPIView):
    """GET /v1/models"""

    async def get(self, request: Request) -> HttpResponse:
        return json_response(
            {"object": "list", "data": [_model(model) for model in runtime.current().catalogue.all()]}
        )

    head = get


class Model(AsyncAPIView):
    """GET /v1/models/{id}; an id can contain slashes."""

    async def get(self, request: Request, model_id: str) -> HttpResponse:
        model = runtime.current().catalogue.get(model_id)
        if model is None:
            raise APIError("model_not_found", param="model")
        return json_response(_model(model))

    head = get


def _model(model: ServedModel) -> dict[str, object]:
    return {"id": model.model_id, "object": "model", "created": model.created, "owned_by": model.owned_by}


class Metrics(AsyncAPIView):
    """GET /metrics for Prometheus, of this process; there only with METRICS_TOKEN set, and for who has it."""

    authentication_classes = ()

    async def get(self, request: Request) -> HttpResponse:
        given = underlying(request).header(b"authorization").encode()
        if not settings.METRICS_TOKEN or not hmac.compare_digest(
            given, b"Bearer " + settings.METRICS_TOKEN.encode()
        ):
            raise APIError("not_found")
        return HttpResponse(
            prometheus_client.generate_latest(), content_type=prometheus_client.CONTENT_TYPE_LATEST
        )


class Healthz(AsyncAPIView):
    """GET /healthz: the process answers."""

    authentication_classes = ()

    async def get(self, request: Request) -> HttpResponse:
        return json_response({"status": "ok"})

    head = get


class Readyz(AsyncAPIView):
    """GET /readyz: PostgreSQL answers and is migrated, and the process is not stopping; else 503 with the reasons.

    Valkey is reported, but without it requests are still served, so a process stays in the load balancer.
    """

    authentication_classes = ()

    async def get(self, request: Request) -> HttpResponse:
        checks = await health.check(runtime.current())
        ready = health.is_ready(checks)
        return json_response({"ready": ready, "checks": checks}, status=200 if ready else 503)

    head = get
