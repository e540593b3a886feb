"""How a response that failed says why: in the words by which agents stop, wait or ask again. Pure.

Codex shows the message of `invalid_prompt` and stops; waits as long as the message of `rate_limit_exceeded` says; asks
six times after any code that it does not know (seen with 0.171.0).
"""

from typing import Any

from proxy.errors import TOO_MANY_REQUESTS, APIError

# What no wait that an agent would sit out can help.
USED_UP = frozenset(
    {"insufficient_balance", "key_limit_reached", "project_limit_reached", "daily_limit_exceeded"}
)


def failure(error: APIError) -> dict[str, Any]:
    """The `error` of a response."""
    code, message = _words(error)
    return {"code": code, "message": message, **error.advice()}


def _words(error: APIError) -> tuple[str, str]:
    if error.code in USED_UP:
        return "insufficient_quota", error.message
    if error.status == TOO_MANY_REQUESTS:
        seconds = error.headers.get("Retry-After", "1")
        return "rate_limit_exceeded", f"{error.message} Please try again in {seconds}s."
    if error.code == "context_length_exceeded":
        return error.code, error.message
    return "invalid_prompt" if error.status < 500 else "server_error", error.message
