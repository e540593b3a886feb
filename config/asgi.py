"""The web process: two doors. The connection (config.protocol) brings the API to a lean handler, and pages here."""

import gc
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

django_pages = get_asgi_application()

from config import forwarded  # noqa: E402 - models are ready only now
from config.pages import loaded_templates  # noqa: E402
from config.pages.limit import PageLimit  # noqa: E402
from proxy import advice, runtime  # noqa: E402
from proxy.http.handler import APIHandler  # noqa: E402
from proxy.metering import figures  # noqa: E402

api = APIHandler("proxy.api.urls")
pages = PageLimit(django_pages)
front_pages: dict[Any, Any] = {}  # what config.pages.front keeps
API_ROOTS = frozenset({"v1", "public", "healthz", "readyz", "metrics"})
# Where clients look for the API whose base URL is set wrongly: a 404 in JSON tells them the right one.
MISTAKEN_ROOTS = frozenset(
    {"api", "openai", "v1beta", "v2", "chat", "completions", "responses", "messages", "embeddings", "engines"}
    | {
        "images",
        "audio",
        "moderations",
        "files",
        "batches",
        "assistants",
        "threads",
        "fine_tuning",
        "realtime",
    }
)
SANDBOX_UPSTREAM = "/sandbox/upstream/"
if settings.SANDBOX:
    from proxy.sandbox.upstream import SandboxUpstream

    sandbox_upstream = SandboxUpstream()

GC_THRESHOLD = 50_000  # allocations; Python's own is 700

Receive = Callable[[], Any]
Send = Callable[[Any], Any]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    forwarded.apply(scope)
    advice.hear("", b"")  # not what a request of the API on this connection has said
    if settings.SANDBOX and scope["path"].startswith(SANDBOX_UPSTREAM):
        await sandbox_upstream(scope, receive, send)
    else:
        if not settings.DEVELOPMENT:
            scope["hamiran.front_pages"] = front_pages
        await pages(scope, receive, send)


def is_for_the_api(path: str) -> bool:
    root = path.lstrip("/").partition("/")[0]
    if root in API_ROOTS:
        return True
    if settings.SANDBOX and path.startswith(SANDBOX_UPSTREAM):
        return False
    return root.lower() in API_ROOTS | MISTAKEN_ROOTS or path.rstrip("/").lower().endswith(
        "/chat/completions"
    )


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    loaded_templates.load()
    await runtime.start()
    # What start-up made is never garbage, and a request makes few cycles: looking for them cost a tenth of the CPU.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await api.drained(timeout_seconds=runtime.DRAIN_SECONDS)  # what uvicorn has just cancelled still settles
    await runtime.close()
    figures.tell()
    await send({"type": "lifespan.shutdown.complete"})
