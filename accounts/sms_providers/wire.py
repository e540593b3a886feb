"""How the adapters of SMS providers talk: one POST, bounded in time and size, answered by a JSON object. Pure.

Nothing of a request or a reply goes into an error, not even as its cause: key, number and code stand in them.
"""

import functools
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from accounts.sms_providers.interface import NoAnswer, SMSError, Unreachable

TIMEOUT = httpx.Timeout(10, connect=5)
TOTAL_SECONDS = 20
REPLY_MAX_BYTES = 64 * 1024


def post(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    json: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the provider answers, whatever the HTTP status below 500 (refusals come as 4xx).

    Raises Unreachable, NoAnswer.
    """
    answer = _answer(url, data=form, json=json, headers={"accept": "application/json", **(headers or {})})
    if isinstance(answer, SMSError):
        raise answer  # not where it arose: there an exception that knows the address is being handled
    return answer


def status(value: object, refusals: Mapping[int, type[SMSError]], *, success: int) -> None:
    """Returns when `value`, the status that the provider reports, is `success`. Else raises SMSError."""
    number = value if type(value) is int else None  # `True == 1`
    if number == success:
        return
    if number is None:
        raise NoAnswer("the answer has no status")
    raise refusals.get(number, SMSError)(f"the provider's status is {number}")


def _answer(url: str, **request: Any) -> dict[str, Any] | SMSError:
    deadline = time.monotonic() + TOTAL_SECONDS
    reply = bytearray()
    try:
        with httpx.stream("POST", url, timeout=TIMEOUT, verify=_trusted(), **request) as response:
            for chunk in response.iter_bytes():
                reply += chunk
                if len(reply) > REPLY_MAX_BYTES or time.monotonic() > deadline:
                    return NoAnswer("reply too long or too slow")
    # The last: a key that no header can hold.
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, UnicodeError) as error:
        return Unreachable(type(error).__name__)
    except httpx.HTTPError as error:
        return NoAnswer(type(error).__name__)
    if response.status_code >= 500:
        return NoAnswer(f"HTTP status {response.status_code}")
    try:
        answer = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return NoAnswer(f"not JSON, HTTP status {response.status_code}")
    return answer if isinstance(answer, dict) else NoAnswer("not a JSON object")


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the authorities takes longer than a call
