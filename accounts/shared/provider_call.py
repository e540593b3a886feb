"""One POST to a provider (SMS, bots, payments), bounded in time and size, answered by a JSON object. Pure.

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
    """No usable answer. `was_asked` is false where the provider has certainly not seen the request.

    `status` is HTTP's, where there was one.
    """

    reason: str
    was_asked: bool = True
    status: int | None = None


@dataclass(frozen=True, slots=True)
class _Bounds:
    """An answer that `wait_seconds` are asked for may take so much longer."""

    wait_seconds: int
    reply_max_bytes: int
    proxy: str

    @property
    def timeout(self) -> httpx.Timeout:
        if not self.wait_seconds:
            return TIMEOUT
        return httpx.Timeout(
            connect=TIMEOUT.connect,
            write=TIMEOUT.write,
            pool=TIMEOUT.pool,
            read=(TIMEOUT.read or 0) + self.wait_seconds,
        )

    @property
    def total_seconds(self) -> float:
        return TOTAL_SECONDS + self.wait_seconds


def post(
    url: str,
    *,
    wait_seconds: int = 0,
    reply_max_bytes: int = REPLY_MAX_BYTES,
    proxy: str = "",
    **request: Any,
) -> dict[str, Any] | CallFailed:
    """The JSON object that the provider answers with, whatever the status below 500 (refusals come as 4xx).

    `request` are httpx's `json`, `data` and `headers`. Over after TOTAL_SECONDS and the `wait_seconds` that the
    provider was asked to wait for, whatever it does.
    """
    bounds = _Bounds(wait_seconds, reply_max_bytes, proxy)
    # httpx bounds each read, not their sum: a server that drips a header byte by byte would hold us for ever.
    answered: queue.SimpleQueue[dict[str, Any] | CallFailed | Exception] = queue.SimpleQueue()
    threading.Thread(target=lambda: answered.put(_asked(url, bounds, request)), daemon=True).start()
    try:
        answer = answered.get(timeout=max(0.0, bounds.total_seconds))
    except queue.Empty:
        return CallFailed("too slow")
    if isinstance(answer, Exception):
        raise answer
    return answer


def _asked(url: str, bounds: _Bounds, request: dict[str, Any]) -> dict[str, Any] | CallFailed | Exception:
    try:
        return _post(url, bounds, **request)
    except Exception as error:  # a defect of ours: it belongs to the caller's thread
        return error


def _post(url: str, bounds: _Bounds, **request: Any) -> dict[str, Any] | CallFailed:
    deadline = time.monotonic() + bounds.total_seconds
    request["headers"] = {"accept": "application/json", **(request.get("headers") or {})}
    reply = bytearray()
    try:
        with httpx.stream(
            "POST", url, timeout=bounds.timeout, verify=_trusted(), proxy=bounds.proxy or None, **request
        ) as response:
            for chunk in response.iter_bytes():
                reply += chunk
                if len(reply) > bounds.reply_max_bytes or time.monotonic() > deadline:
                    return CallFailed("reply too long or too slow")
    # The last: a key that no header can hold.
    except (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.ProxyError,
        httpx.InvalidURL,
        UnicodeError,
    ) as error:
        return CallFailed(type(error).__name__, was_asked=False)
    except httpx.HTTPError as error:
        return CallFailed(type(error).__name__)
    status = response.status_code
    if status >= 500:
        return CallFailed(f"HTTP status {status}", status=status)
    try:
        answer = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return CallFailed(f"not JSON, HTTP status {status}", status=status)
    return answer if isinstance(answer, dict) else CallFailed("not a JSON object", status=status)


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the authorities takes longer than a call
