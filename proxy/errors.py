"""The API's errors: every status, type, code and message that a client can meet stands here, and nowhere else.

Table and shape come from the public contract; rows marked "ours" are those it is silent about.
"""

import logging
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import django.db
import psycopg
from redis.exceptions import RedisError

from accounts.shared import database_session
from accounts.shared.formats import TEHRAN
from proxy import advice
from wallet.ledger.holds import HoldGone, LedgerUnavailable

logger = logging.getLogger(__name__)

TOO_LARGE, TOO_MANY_REQUESTS = 413, 429

SDK_WAIT_MAX_SECONDS = 60  # openai-node 7.59 waits no longer
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
    "input_not_supported": (400, INVALID, "The model does not take this kind of input."),
    "context_length_exceeded": (400, INVALID, "The prompt is longer than the context of the model."),
    "request_exceeds_limit": (
        413,
        INVALID,
        "This request alone is larger than the key's limit of tokens. Send less in one request.",
    ),
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
    "project_limit_reached": (
        402,
        "insufficient_quota",
        "The project of this API key has reached its spending cap. The project's owner can raise it.",
    ),
    "model_not_allowed": (403, INVALID, "This API key is not allowed to use the requested model."),
    "network_not_allowed": (403, INVALID, "This API key is not allowed to be used from this network."),
    "service_unavailable": (503, SERVER, "The service cannot take requests right now. Please retry shortly."),
    "admin_key_not_allowed": (
        403,
        INVALID,
        "This is an admin key. It manages keys and calls no models: use an API key (hm-…) here.",
    ),
    "admin_key_required": (403, INVALID, "This endpoint takes an admin key (hm-admin-…), not an API key."),
    "project_key_not_allowed": (
        403,
        INVALID,
        "This endpoint tells of the whole account, so it takes no key of a project.",
    ),
    "insufficient_scope": (403, INVALID, "This admin key lacks the scope that the request needs."),
    "no_new_keys": (
        403,
        INVALID,
        "The mobile number of this account was changed a short time ago, so no new key is given out for now.",
    ),
    "project_not_found": (404, INVALID, "This account has no such open project."),
    "key_not_found": (404, INVALID, "This account has no such API key."),
    "key_ended": (409, INVALID, "This API key is revoked, expired or replaced, so it cannot be changed."),
    "key_being_replaced": (
        409,
        INVALID,
        "The key that this one replaced still works, so this one cannot be replaced yet.",
    ),
    "too_many_keys": (409, INVALID, "This account has the most active API keys that it can have."),
    "precondition_failed": (412, INVALID, "The key has changed since the version that If-Match names."),
    "request_in_progress": (409, INVALID, "A request with this Idempotency-Key is still running."),
    "idempotency_replayed": (
        409,
        INVALID,
        "A request with this Idempotency-Key has been answered and charged already; nothing is charged again.",
    ),
    "idempotency_mismatch": (422, INVALID, "This Idempotency-Key was used for another request body."),
    "request_not_found": (404, INVALID, "No request of this account has this id."),
    "bad_request": (400, INVALID, "The request is not valid HTTP, so it could not be read."),
    "daily_limit_exceeded": (
        429,
        "rate_limit_error",
        "This API key has used up its requests or tokens of this day. The next day begins at midnight, Tehran time.",
    ),
    "headers_too_large": (431, INVALID, "The request's address and headers are too large."),
}

# What is away, has broken off or came too late, where nothing of ours is wrong: it passes.
OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    database_session.DEMOTED,
    django.db.OperationalError,
    django.db.InterfaceError,
    LedgerUnavailable,
    HoldGone,
    RedisError,
    OSError,  # time-outs, broken connections, no descriptor left
)


class APIError(Exception):
    """One of ERRORS. `status`, `type` and `message` may be an upstream's own where it is passed on.

    `facts` are figures and ids for programs, which stand beside the message.
    """

    def __init__(
        self,
        code: str,
        *,
        param: str | None = None,
        message: str | None = None,
        headers: dict[str, str] | None = None,
        detail: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.status, self.type, default = ERRORS[code]
        self.code: str | None = code
        self.stands_for = code
        self.param = param
        self.message = message or default
        self.headers = headers or {}
        self.facts = facts or {}
        super().__init__(detail or self.message)

    def body(self) -> dict[str, Any]:
        said = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**said, **self.advice(), **self.facts}}

    def advice(self) -> dict[str, str]:
        """`solution` and `docs`. An upstream's own code is advised on as what it stands for, unless it means ours."""
        is_ours = self.code is not None and self.code in ERRORS and ERRORS[self.code][0] == self.status
        return advice.told(self.code if is_ours and self.code else self.stands_for)


# Of OpenAI's endpoints, those that this service does not have, by the first part of their path.
NOT_SERVED = {
    "realtime": "The Realtime API is not served",
    "assistants": "The Assistants API is not served",
    "threads": "The Assistants API is not served",
    "conversations": "Conversations are not served",
    "batches": "Batches are not served",
    "files": "Files are not served",
    "uploads": "Files are not served",
    "fine_tuning": "Fine-tuning is not served",
    "vector_stores": "Vector stores are not served",
    "videos": "Videos are not served",
}


def no_such_endpoint(path: str, *, base_url: str) -> APIError:
    """404 for a path that leads nowhere, with what to do instead where the path shows what was meant."""
    said = ERRORS["not_found"][2]
    root, _slash, endpoint = path.lstrip("/").partition("/")
    if root != "v1" or endpoint.partition("/")[0].lower() in {"v1", "api", "openai"}:
        return APIError("not_found", message=f"{said} The base URL of this API is {base_url}/v1.")
    first = endpoint.partition("/")[0].lower()
    if first == "responses":  # what is behind it
        return APIError(
            "not_found", message=f"{said} Responses are not stored, so none can be fetched or changed."
        )
    missing = NOT_SERVED.get(first)
    if missing is None:
        return APIError("not_found")
    instead = f"Use chat completions instead: POST {base_url}/v1/chat/completions"
    return APIError("not_found", message=f"{said} {missing}. {instead}.")


def rate_limited(retry_after_seconds: float, *, facts: Mapping[str, Any] | None = None) -> APIError:
    """429 with the true wait."""
    return APIError("rate_limit_exceeded", headers=wait_headers(retry_after_seconds), facts=facts)


def request_exceeds_limit(facts: Mapping[str, Any]) -> APIError:
    """413, as no wait can help, and some SDKs try again after every 429."""
    return APIError("request_exceeds_limit", facts=facts)


def daily_limit_exceeded(retry_after_seconds: float, facts: Mapping[str, Any]) -> APIError:
    """429 with the true wait, which no client should sit out."""
    resets_at = (datetime.now(TEHRAN) + timedelta(seconds=retry_after_seconds)).replace(microsecond=0)
    return APIError(
        "daily_limit_exceeded",
        headers=wait_headers(retry_after_seconds) | {"x-should-retry": "false"},
        facts={**facts, "resets_at": resets_at.isoformat()},
    )


def upstream_error(retry_after_seconds: float | None, *, detail: str) -> APIError:
    """502, with the wait that the upstream asked for, if any."""
    headers = None if retry_after_seconds is None else wait_headers(retry_after_seconds)
    return APIError("upstream_error", headers=headers, detail=detail)


def wait_headers(seconds: float) -> dict[str, str]:
    """Retry-After as SDKs read it. Beyond a minute they would not wait, but try again at once unless told not to."""
    headers = {
        "Retry-After": str(max(1, math.ceil(seconds))),
        "retry-after-ms": str(max(1, math.ceil(seconds * 1000))),
    }
    return headers | {"x-should-retry": "false"} if seconds > SDK_WAIT_MAX_SECONDS else headers


def failed(error: Exception, *, request_id: object) -> APIError:
    """What a client is told of a failure that nobody expected, which is logged: 503 where it passes, else 500."""
    if isinstance(error, OUTAGES) or isinstance(error.__cause__, database_session.DEMOTED):
        logger.warning("outage met", extra={"request": request_id, "error": repr(error)})
        return APIError("service_unavailable", headers={"Retry-After": "5"})
    logger.error("unhandled exception", exc_info=error, extra={"request": request_id})
    return APIError("internal_error")


def unavailable() -> APIError:
    """503: nothing is served that could not be paid for."""
    return APIError("service_unavailable", headers={"Retry-After": "5"})


def busy() -> APIError:
    """503: as many calls are running as may."""
    return APIError("service_unavailable", headers={"Retry-After": "1"})
