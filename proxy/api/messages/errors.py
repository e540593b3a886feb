"""The API's errors and limits in the shape of the Messages API. Pure.

Conditions, statuses and codes are those of proxy/errors.py. A client that would ask again where that cannot help is
told so: Claude Code repeats a 401 for three minutes and a 400 six times otherwise.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from proxy.errors import APIError
from proxy.limits.admission import Admission, Limits, ModelBounds

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
PASSING = frozenset({408, 409, 425, 429})  # of those below 500
# Claude Code 2.1.332 shows words of its own for a 413 (attachments beyond 32 MB), and ours for a 429, which it does not
# repeat where it is told not to.
STATUSES = {"request_exceeds_limit": 429}
# By these words Claude Code knows that it has to shorten its conversation.
FULL_CONTEXT = "prompt is too long: "


def status_of(error: APIError) -> int:
    return STATUSES.get(error.code or "", error.status)


def type_of(status: int) -> str:
    return TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def body(error: APIError, *, request_id: str) -> dict[str, Any]:
    message = error.message
    if error.code == "context_length_exceeded" and not message.lower().startswith(FULL_CONTEXT):
        message = FULL_CONTEXT + message
    said = {"type": type_of(status_of(error)), "message": message, "code": error.code}
    if error.param is not None:
        said["param"] = error.param
    return {"type": "error", "error": {**said, **error.advice(), **error.facts}, "request_id": request_id}


def encoded(error: APIError, *, request_id: str) -> bytes:
    return orjson.dumps(body(error, request_id=request_id))


def headers(error: APIError) -> dict[str, str]:
    if error.status >= 500 or (error.status in PASSING and error.code not in STATUSES):
        return error.headers
    return error.headers | {"x-should-retry": "false"}


def event(error: APIError, *, request_id: str) -> bytes:
    """How a failure after the first byte looks."""
    return b"event: error\ndata: " + encoded(error, request_id=request_id) + b"\n\n"


def limit_headers(
    admission: Admission,
    limits: Limits,
    of_model: ModelBounds | None = None,
    *,
    now: datetime | None = None,
) -> Mapping[str, str]:
    """What is left of a key's limits. Resets are times, to the second and never too early."""
    now = now or datetime.now(UTC)
    found: dict[str, str] = {}
    for name, (limit, remaining, reset_ms) in admission.told(limits, of_model).items():
        reset = now + timedelta(milliseconds=reset_ms, microseconds=999_999)
        found |= {
            f"anthropic-ratelimit-{name}-limit": str(limit),
            f"anthropic-ratelimit-{name}-remaining": str(remaining),
            f"anthropic-ratelimit-{name}-reset": f"{reset:%Y-%m-%dT%H:%M:%SZ}",
        }
    return found
