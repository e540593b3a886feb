"""Calls to upstreams: one connection pool a process, and what their answers mean before the first byte.

aiohttp, not httpx: 90 against 1,870 µs CPU a call at 32 at once (CONTRIBUTING.md, Decisions).
"""

import asyncio
from typing import Any

import aiohttp
import orjson
from django.conf import settings

from proxy.answers import error_of
from proxy.catalogue import ServedRoute
from proxy.errors import UpstreamRefusal

ANSWER_MAX_BYTES = 64 * 1024 * 1024
ERROR_MAX_BYTES = 64 * 1024
# What an upstream says of the request itself. Anything else it refuses is between it and the operator: 502.
REQUEST_FAULTS = frozenset({400, 413, 422, 429})
REDACTED = "[upstream]"


class UpstreamFailed(Exception):
    """No usable answer: unreachable, too slow, broken off, or an error that is not the client's."""


class Upstreams:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.UPSTREAM_CONNECT_TIMEOUT_SECONDS),
            headers={"User-Agent": "hamiran", "Accept-Encoding": "identity"},
            json_serialize=_never,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, route: ServedRoute, body: bytes) -> aiohttp.ClientResponse:
        """POSTs a completion and waits for a 200's headers. Raises UpstreamFailed, UpstreamRefusal."""
        assert self._session is not None
        try:
            async with asyncio.timeout(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS):
                response = await self._session.post(
                    f"{route.base_url}/chat/completions",
                    data=body,
                    headers={"Authorization": f"Bearer {route.api_key}", "Content-Type": "application/json"},
                    allow_redirects=False,
                )
        except TimeoutError:
            raise UpstreamFailed("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed(f"{type(error).__name__}: {error}") from error
        if response.status == 200:
            return response
        try:
            raise await _refusal(response, route)
        finally:
            response.release()


async def read_all(response: aiohttp.ClientResponse, *, most: int = ANSWER_MAX_BYTES) -> bytes:
    """The whole body, up to `most` bytes. Raises UpstreamFailed."""
    body = bytearray()
    try:
        while chunk := await response.content.readany():
            body += chunk
            if len(body) > most:
                raise UpstreamFailed("an answer without end")
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamFailed(f"{type(error).__name__}: {error}") from error
    return bytes(body)


async def read_some(response: aiohttp.ClientResponse) -> bytes:
    """What has arrived, at least one byte; empty at the end. Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(settings.UPSTREAM_IDLE_TIMEOUT_SECONDS):
            return await response.content.readany()
    except TimeoutError:
        raise UpstreamFailed("silent for too long") from None
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamFailed(f"{type(error).__name__}: {error}") from error


async def _refusal(response: aiohttp.ClientResponse, route: ServedRoute) -> Exception:
    try:
        async with asyncio.timeout(settings.UPSTREAM_IDLE_TIMEOUT_SECONDS):
            body = await read_all(response, most=ERROR_MAX_BYTES)
    except (UpstreamFailed, TimeoutError):
        body = b""
    try:
        error = error_of(orjson.loads(body)) or {}
    except orjson.JSONDecodeError:
        error = {}
    if response.status not in REQUEST_FAULTS:
        return UpstreamFailed(f"status {response.status}: {_redacted(error, route).get('message')}")
    return UpstreamRefusal(response.status, _redacted(error, route))


def _redacted(error: dict[str, Any], route: ServedRoute) -> dict[str, Any]:
    message = error.get("message")
    if not isinstance(message, str):
        return error
    host = route.base_url.partition("://")[2].partition("/")[0]
    for secret in filter(None, (route.api_key, route.base_url, host)):
        message = message.replace(secret, REDACTED)
    return {**error, "message": message}


def _never(_value: object) -> str:
    raise AssertionError("bodies are bytes already")
