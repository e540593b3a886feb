"""How whole answers leave: JSON, errors, and the header that says what an answer cost."""

from collections.abc import Mapping
from typing import Any

import orjson
from prometheus_client import Counter
from rest_framework.exceptions import MethodNotAllowed

from proxy.errors import APIError, failed

COST_HEADER = "x-hamiran-cost-toman"
LEFT_OUT_HEADER = "x-hamiran-left-out"
# Of a repeat (proxy/idempotency/): that it is one, and of which request.
REPLAYED_HEADER = "idempotent-replayed"
ORIGINAL_HEADER = "x-hamiran-original-request-id"
JSON = "application/json"
OWN_ID_HEADER = "x-hamiran-request-id"

ERRORS_TOLD = Counter(
    "hamiran_errors", "Requests of the API that were answered with an error, by its code", ["code"]
)


class Reply:
    """A whole answer; `exception` is DRF's to set."""

    __slots__ = ("content", "exception", "headers", "status_code")

    def __init__(
        self,
        content: bytes = b"",
        *,
        status: int = 200,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.content = content
        self.status_code = status
        self.headers: dict[str, str] = {} if content_type is None else {"content-type": content_type}
        if headers:
            self.headers.update(headers)


def id_headers(request_id: str) -> dict[str, str]:
    """Of every answer. Networks that deliver content put an id of their own into the usual one."""
    return {"x-request-id": request_id, OWN_ID_HEADER: request_id}


def cost_text(toman: float) -> str:
    return f"{toman:.7f}".rstrip("0").rstrip(".")


def json_response(body: object, *, status: int = 200) -> Reply:
    return Reply(orjson.dumps(body), status=status, content_type=JSON)


def error_response(error: APIError) -> Reply:
    return Reply(orjson.dumps(error.body()), status=error.status, content_type=JSON, headers=error.headers)


def exception_handler(exc: Exception, context: dict[str, Any]) -> Reply:
    """DRF's EXCEPTION_HANDLER: whatever a view raises becomes one of the contract's errors."""
    view = context.get("view")
    if isinstance(exc, APIError):
        error = exc
    elif isinstance(exc, MethodNotAllowed):
        error = APIError("method_not_allowed", headers={"Allow": ", ".join(context["view"].allowed_methods)})
    else:
        error = failed(exc, request_id=getattr(context.get("request"), "id", None))
    ERRORS_TOLD.labels(error.stands_for).inc()
    reply: Reply = error_response(error) if view is None else view.error_reply(error)
    return reply
