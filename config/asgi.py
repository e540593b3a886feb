"""The web process: two doors. The API goes to a lean handler, pages to Django's own."""

import gc
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from proxy import runtime  # noqa: E402 - models are ready only now
from proxy.handler import APIHandler  # noqa: E402

api = APIHandler("proxy.api.urls")
API_ROOTS = frozenset({"v1", "healthz", "readyz", "metrics"})
SANDBOX_UPSTREAM = "/sandbox/upstream/"
if settings.SANDBOX:
    from proxy.sandbox_upstream import SandboxUpstream

    sandbox_upstream = SandboxUpstream()

GC_THRESHOLD = 50_000  # allocations; Python's own is 700

Receive = Callable[[], Any]
Send = Callable[[Any], Any]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] != "http":
        raise ValueError(f"{scope['type']} is not served")
    elif scope["path"].lstrip("/").partition("/")[0] in API_ROOTS:
        await api(scope, receive, send)
    elif settings.SANDBOX and scope["path"].startswith(SANDBOX_UPSTREAM):
        await sandbox_upstream(scope, receive, send)
    else:
        await pages(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await runtime.start()
    # What start-up made is never garbage, and a request makes few cycles: looking for them cost a tenth of the CPU.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await api.drained(timeout_seconds=runtime.DRAIN_SECONDS)  # what uvicorn has just cancelled still settles
    await runtime.close()
    await send({"type": "lifespan.shutdown.complete"})
