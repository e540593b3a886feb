"""The API's errors: every status, type, code and message that a client can meet stands here, and nowhere else.

Table and shape come from the public contract; rows marked "ours" are those it is silent about.
"""

import logging
import math
from typing import Any

import django.db
import orjson
import psycopg
from django.http import HttpResponse
from redis.exceptions import RedisError
from rest_framework.exceptions import MethodNotAllowed

from wallet.holds import HoldGone, LedgerUnavailable

logger = logging.getLogger(__name__)

INVALID = "invalid_request_error"
SERVER = "server_error"

# code: (status, type, message)
ERRORS: dict[str, tuple[int, str, str]] = {
    "missing_api_key": (401, INVALID, "You must provide an API key in the Authorization header."),
    "invalid_api_key": (401, INVALID, "Invalid API key provided."),
    "insufficient_balance": (
        402,
        "insufficient_quota",
        "Insufficient wallet balance. Please top up your account.",
    ),
    "rate_limit_exceeded": (429, "rate_limit_error", "Rate limit exceeded. Please retry after a minute."),
    "invalid_json": (400, INVALID, "Invalid JSON in request body."),
    "method_not_allowed": (405, INVALID, "Method not allowed for this endpoint."),
    "model_required": (400, INVALID, 'The "model" field is required.'),
    "messages_required": (400, INVALID, 'The "messages" field is required and must be a non-empty array.'),
    "model_not_found": (404, INVALID, "The requested model is not available."),
    "invalid_messages": (400, INVALID, 'Each message must have a valid "role" and "content".'),
    "not_found": (404, INVALID, "The requested endpoint does not exist."),
    "upstream_error": (502, SERVER, "Upstream AI service is temporarily unavailable."),
    "internal_error": (500, SERVER, "An internal server error occurred."),
    # ours
    "invalid_value": (400, INVALID, "A field has a value that is not allowed."),
    "request_timeout": (408, INVALID, "The request body did not arrive in time."),
    "request_too_large": (413, INVALID, "The request body is too large."),
    "unsupported_encoding": (415, INVALID, "Compressed request bodies are not supported. Send plain JSON."),
    "wallet_frozen": (
        403,
        INVALID,
        "This wallet is frozen while its balance is being checked. Please contact support.",
    ),
    "key_limit_reached": (
        402,
        "insufficient_quota",
        "This API key has reached its spending cap. Raise the cap in the dashboard or use another key.",
    ),
    "model_not_allowed": (403, INVALID, "This API key is not allowed to use the requested model."),
    "network_not_allowed": (403, INVALID, "This API key is not allowed to be used from this network."),
    "service_unavailable": (503, SERVER, "The service cannot take requests right now. Please retry shortly."),
}

# What is away, has broken off or came too late, where nothing of ours is wrong: it passes.
OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    django.db.OperationalError,
    django.db.InterfaceError,
    LedgerUnavailable,
    HoldGone,
    RedisError,
    OSError,  # time-outs, broken connections, no descriptor left
)


class APIError(Exception):
    """One of ERRORS. `status`, `type` and `message` may be an upstream's own where it is passed on."""

    def __init__(
        self,
        code: str,
        *,
        param: str | None = None,
        message: str | None = None,
        headers: dict[str, str] | None = None,
        detail: str = "",
    ) -> None:
        self.status, self.type, default = ERRORS[code]
        self.code: str | None = code
        self.param = param
        self.message = message or default
        self.headers = headers or {}
        super().__init__(detail or self.message)

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class UpstreamRefusal(APIError):
    """An upstream's own 4xx about the request itself, passed on in the OpenAI shape."""

    def __init__(self, status: int, error: dict[str, Any], *, retry_after_seconds: int | None = None) -> None:
        waits = status == 429 and retry_after_seconds is not None
        super().__init__(
            "invalid_value", headers={"Retry-After": str(retry_after_seconds)} if waits else None
        )
        self.status, self.retry_after_seconds = status, retry_after_seconds
        if status == 429:  # its words and code tell of the operator's account
            self.code = "rate_limit_exceeded"
            _status, self.type, self.message = ERRORS[self.code]
            return
        if isinstance(message := error.get("message"), str):
            self.message = message
        code, param = error.get("code"), error.get("param")
        self.code = code if isinstance(code, str) else None
        self.param = param if isinstance(param, str) else None


def rate_limited(retry_after_seconds: float | None) -> APIError:
    """429 with the true wait, or without one and not to be retried where waiting cannot help."""
    if retry_after_seconds is None:
        return APIError("rate_limit_exceeded", headers={"x-should-retry": "false"})
    return APIError(
        "rate_limit_exceeded",
        headers={
            "Retry-After": str(max(1, math.ceil(retry_after_seconds))),
            "retry-after-ms": str(max(1, math.ceil(retry_after_seconds * 1000))),
        },
    )


def failed(error: Exception, *, request_id: object) -> APIError:
    """What a client is told of a failure that nobody expected, which is logged: 503 where it passes, else 500."""
    if isinstance(error, OUTAGES):
        logger.warning("outage met", extra={"request": request_id, "error": repr(error)})
        return APIError("service_unavailable", headers={"Retry-After": "5"})
    logger.error("unhandled exception", exc_info=error, extra={"request": request_id})
    return APIError("internal_error")


def error_response(error: APIError) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(error.body()),
        status=error.status,
        content_type="application/json",
        headers=error.headers,
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER: whatever a view raises becomes one of the contract's errors."""
    if isinstance(exc, APIError):
        return error_response(exc)
    if isinstance(exc, MethodNotAllowed):
        allowed = ", ".join(context["view"].allowed_methods)
        return error_response(APIError("method_not_allowed", headers={"Allow": allowed}))
    return error_response(failed(exc, request_id=getattr(context.get("request"), "id", None)))
