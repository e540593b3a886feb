"""One POST to a provider (SMS, payments), bounded in time and size, answered by a JSON object. Pure.

Nothing of a request or a reply goes into a failure: keys, numbers, codes and merchant ids stand in them.
"""

import functools
import queue
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

TIMEOUT = httpx.Timeout(10, connect=5)
TOTAL_SECONDS = 20
REPLY_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CallFailed:
    """No usable answer. `was_asked` is false where the provider has certainly not seen the request."""

    reason: str
    was_asked: bool = True


def post(url: str, **request: Any) -> dict[str, Any] | CallFailed:
    """The JSON object that the provider answers with, whatever the status below 500 (refusals come as 4xx).

    `request` are httpx's `json`, `data` and `headers`. Over after TOTAL_SECONDS, whatever the provider does.
    """
    # httpx bounds each read, not their sum: a server that drips a header byte by byte would hold us for ever.
    answered: queue.SimpleQueue[dict[str, Any] | CallFailed | Exception] = queue.SimpleQueue()
    threading.Thread(target=lambda: answered.put(_asked(url, request)), daemon=True).start()
    try:
        answer = answered.get(timeout=max(0.0, TOTAL_SECONDS))
    except queue.Empty:
        return CallFailed("too slow")
    if isinstance(answer, Exception):
        raise answer
    return answer


def _asked(url: str, request: dict[str, Any]) -> dict[str, Any] | CallFailed | Exception:
    try:
        return _post(url, **request)
    except Exception as error:  # a defect of ours: it belongs to the caller's thread
        return error


def _post(url: str, **request: Any) -> dict[str, Any] | CallFailed:
    deadline = time.monotonic() + TOTAL_SECONDS
    request["headers"] = {"accept": "application/json", **(request.get("headers") or {})}
    reply = bytearray()
    try:
        with httpx.stream("POST", url, timeout=TIMEOUT, verify=_trusted(), **request) as response:
            for chunk in response.iter_bytes():
                reply += chunk
                if len(reply) > REPLY_MAX_BYTES or time.monotonic() > deadline:
                    return CallFailed("reply too long or too slow")
    # The last: a key that no header can hold.
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, UnicodeError) as error:
        return CallFailed(type(error).__name__, was_asked=False)
    except httpx.HTTPError as error:
        return CallFailed(type(error).__name__)
    if response.status_code >= 500:
        return CallFailed(f"HTTP status {response.status_code}")
    try:
        answer = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return CallFailed(f"not JSON, HTTP status {response.status_code}")
    return answer if isinstance(answer, dict) else CallFailed("not a JSON object")


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the authorities takes longer than a call
