"""How the adapters of real gateways talk: JSON over HTTPS, bounded in time and size, with failures as values. Pure.

Nothing of a request or a reply goes into an error: a merchant id stands in the one and can stand in the other.
"""

import functools
import re
import ssl
import time
from typing import Any

import httpx
import orjson

from wallet.gateways.interface import GatewayError

TIMEOUT = httpx.Timeout(10, connect=5)
TOTAL_SECONDS = 20
REPLY_MAX_BYTES = 256 * 1024


def post(url: str, body: dict[str, Any]) -> dict[str, Any] | GatewayError:
    """The JSON object that the gateway answers with, whatever the status below 500 (refusals come as 4xx)."""
    deadline = time.monotonic() + TOTAL_SECONDS
    reply = bytearray()
    try:
        with httpx.stream(
            "POST",
            url,
            json=body,
            headers={"accept": "application/json"},
            timeout=TIMEOUT,
            verify=_trusted(),
        ) as response:
            for chunk in response.iter_bytes():
                reply += chunk
                if len(reply) > REPLY_MAX_BYTES or time.monotonic() > deadline:
                    return GatewayError("reply too long or too slow")
    except httpx.HTTPError as error:
        return GatewayError(type(error).__name__)
    if response.status_code >= 500:
        return GatewayError(f"HTTP status {response.status_code}")
    try:
        answer = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return GatewayError(f"not JSON, HTTP status {response.status_code}")
    return answer if isinstance(answer, dict) else GatewayError("not a JSON object")


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the authorities takes longer than a call


def whole(value: object) -> int | None:
    """A whole number that came as a number or as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) else None


def reference(value: object) -> str | None:
    """A payment's reference as text; None where the gateway gave none (0 is none, too)."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if re.fullmatch(r"[0-9A-Za-z_-]{1,64}", text) and text.strip("0") else None


def local_mobile(mobile: str) -> str:
    """+989121234567 as gateways want it: 09121234567."""
    return "0" + mobile.removeprefix("+98")
