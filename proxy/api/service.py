"""What needs no key: the OpenAPI document, metrics, and what load balancers ask."""

import asyncio
import hmac

import prometheus_client
from django.conf import settings

from proxy import runtime
from proxy.api import health, metrics
from proxy.catalogue import served, starter
from proxy.catalogue.endpoints import CHAT
from proxy.errors import APIError
from proxy.http.etags import json_unless_known
from proxy.http.request import APIRequest
from proxy.http.responses import Reply, json_response
from proxy.http.views import AsyncAPIView
from proxy.metering import figures


class OpenView(AsyncAPIView):
    """What needs no key, and is no part of the API that /v1/openapi.json describes."""

    authentication_classes = ()
    schema = None


class OpenAPI(OpenView):
    """GET /v1/openapi.json"""

    async def get(self, request: APIRequest) -> Reply:
        chats = served.at(runtime.current().catalogue.all(), CHAT)
        content, etag = await asyncio.to_thread(_document, chats[0].model_id if chats else starter.MODEL_ID)
        return json_unless_known(
            request, content, etag=etag, headers={"Cache-Control": "public, max-age=300"}
        )

    head = get


def _document(model_id: str) -> tuple[bytes, str]:
    from proxy.api.openapi import document as openapi_document  # large, and seldom asked for

    return openapi_document.document(model_id)


class Metrics(OpenView):
    """GET /metrics for Prometheus, of all processes here; there only with METRICS_TOKEN set, and for who has it."""

    async def get(self, request: APIRequest) -> Reply:
        given = request.header(b"authorization").encode()
        if not settings.METRICS_TOKEN or not hmac.compare_digest(
            given, b"Bearer " + settings.METRICS_TOKEN.encode()
        ):
            raise APIError("not_found")
        figures.tell()
        text = await asyncio.to_thread(metrics.text)
        return Reply(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)


class Healthz(OpenView):
    """GET /healthz: the process answers."""

    async def get(self, request: APIRequest) -> Reply:
        return json_response({"status": "ok"})

    head = get


class Readyz(OpenView):
    """GET /readyz: PostgreSQL answers and is migrated, settlements get there, the catalogue has been read, and the
    process is not stopping.

    Else 503 with the reasons.

    Valkey is reported, but without it requests are still served, so a process stays in the load balancer.
    """

    async def get(self, request: APIRequest) -> Reply:
        checks = await health.check(runtime.current())
        ready = health.is_ready(checks)
        return json_response({"ready": ready, "checks": checks}, status=200 if ready else 503)

    head = get
