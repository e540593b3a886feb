"""Calls to upstreams: one connection pool a process, and what their answers mean before the first byte.

aiohttp, not httpx: 90 against 1,870 µs CPU a call at 32 at once (CONTRIBUTING.md, Decisions).
"""

import asyncio
import math
import socket
from typing import Any

import aiohttp
import aiohttp.abc
import orjson
from django.conf import settings

from proxy.answers import error_of
from proxy.catalogue import ServedRoute
from proxy.errors import UpstreamRefusal
from proxy.upstream_url import is_public

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
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=30, ttl_dns_cache=30, resolver=PublicResolver()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.UPSTREAM_CONNECT_TIMEOUT_SECONDS),
            headers={"User-Agent": "hamiran", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, route: ServedRoute, body: bytes, *, deadline: float) -> aiohttp.ClientResponse:
        """POSTs a completion and waits for a 200's headers. Raises UpstreamFailed, UpstreamRefusal.

        `deadline`, here and below, is the event loop's time at which the whole call must be over.
        """
        assert self._session is not None
        try:
            async with asyncio.timeout_at(_by(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS, deadline)):
                response = await self._session.post(
                    f"{route.base_url}/chat/completions",
                    data=body,
                    headers={"Authorization": f"Bearer {route.api_key}", "Content-Type": "application/json"},
                    allow_redirects=False,
                )
        except TimeoutError:
            raise UpstreamFailed("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed(type(error).__name__) from error
        if response.status == 200:
            return response
        try:
            raise await _refusal(response, route)
        finally:
            response.release()


async def read_all(
    response: aiohttp.ClientResponse, *, deadline: float, most: int = ANSWER_MAX_BYTES
) -> bytes:
    """The whole body, up to `most` bytes. Raises UpstreamFailed."""
    body = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            while chunk := await response.content.readany():
                body += chunk
                if len(body) > most:
                    raise UpstreamFailed("an answer without end")
    except TimeoutError:
        raise UpstreamFailed("took too long") from None
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamFailed(type(error).__name__) from error
    return bytes(body)


def _by(seconds: float, deadline: float) -> float:
    return min(asyncio.get_running_loop().time() + seconds, deadline)


async def _refusal(response: aiohttp.ClientResponse, route: ServedRoute) -> Exception:
    try:
        body = await read_all(
            response, deadline=_by(settings.UPSTREAM_IDLE_TIMEOUT_SECONDS, math.inf), most=ERROR_MAX_BYTES
        )
        error = error_of(orjson.loads(body)) or {}
    except (UpstreamFailed, orjson.JSONDecodeError):
        error = {}
    if response.status not in REQUEST_FAULTS:
        return UpstreamFailed(f"status {response.status}")
    return UpstreamRefusal(response.status, _redacted(error, route))


def _redacted(error: dict[str, Any], route: ServedRoute) -> dict[str, str | None]:
    """Message, code and param without our key and the upstream's address."""
    host = route.base_url.partition("://")[2].partition("/")[0]
    redacted: dict[str, str | None] = {}
    for name in ("message", "code", "param"):
        text = error.get(name)
        for secret in filter(None, (route.api_key, route.base_url, host)):
            text = text.replace(secret, REDACTED) if isinstance(text, str) else None
        redacted[name] = text
    return redacted


class PublicResolver(aiohttp.abc.AbstractResolver):
    """Resolves upstreams' names to public addresses only, also when a name changes its mind after it was checked."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if host in settings.UPSTREAM_ALLOWED_HOSTS:
            return found
        public = [one for one in found if is_public(one["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._resolver.close()
