"""Which web pages of other origins may call /v1, and what they may read of its answers (CORS, Fetch Standard)."""

from collections.abc import Mapping, Sequence

from proxy.http.responses import (
    COST_HEADER,
    LEFT_OUT_HEADER,
    ORIGINAL_HEADER,
    OWN_ID_HEADER,
    REPLAYED_HEADER,
)
from proxy.limits.admission import Admission, Limits

ANY = "*"
MAX_AGE_SECONDS = 7200  # browsers keep a preflight's answer no longer
METHODS = "GET, HEAD, POST, PATCH, DELETE"
REQUEST_HEADERS = frozenset(
    {
        "accept",
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "user-agent",
        "x-api-key",
        "x-client-request-id",
    }
)
REQUEST_PREFIXES = ("x-stainless-", "openai-", "anthropic-")  # what SDKs say about themselves
ANTHROPICS = ("limit", "remaining", "reset")
LIMITED = ("requests", "tokens", "requests-day", "tokens-day")
EXPOSED = ", ".join(
    [
        "x-request-id",
        "etag",
        "request-id",
        OWN_ID_HEADER,
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "etag",
        COST_HEADER,
        LEFT_OUT_HEADER,
        "x-hamiran-estimated",
        REPLAYED_HEADER,
        ORIGINAL_HEADER,
        *Admission(0, 0, 0, 0, 0).headers(Limits(1, 1, None, 1, 1)),
        *(f"anthropic-ratelimit-{name}-{what}" for name in LIMITED for what in ANTHROPICS),
    ]
)


def answer_headers(origins: Sequence[str], *, origin: str) -> dict[str, str]:
    """What an answer says to a page of `origin` (empty: no page asks). No origins: nothing, and nothing changes."""
    if not origins:
        return {}
    headers = {"vary": "Origin"}  # for caches, to pages that may not read it as well
    if origin and (ANY in origins or origin in origins):
        headers["access-control-allow-origin"] = ANY if ANY in origins else origin
        headers["access-control-expose-headers"] = EXPOSED
    return headers


def preflight_headers(asked: str) -> Mapping[str, str]:
    """What a preflight is told besides, `asked` being its Access-Control-Request-Headers."""
    names = {name.strip().lower() for name in asked.split(",")}
    allowed = REQUEST_HEADERS | {name for name in names if name.startswith(REQUEST_PREFIXES)}
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": ", ".join(sorted(allowed)),
        "Access-Control-Max-Age": str(MAX_AGE_SECONDS),
    }
