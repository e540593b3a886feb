"""Calls to upstreams: one connection pool a process, and what their answers mean before the first byte.

aiohttp, not httpx: 90 against 1,870 µs CPU a call at 32 at once (CONTRIBUTING.md, Decisions).
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from typing import Any

import aiohttp
import aiohttp.abc
import orjson
from django.conf import settings

from proxy import quirks
from proxy.answers import error_of
from proxy.catalogue import ServedRoute
from proxy.errors import UpstreamRefusal
from proxy.upstream_url import is_public

logger = logging.getLogger(__name__)

ANSWER_MAX_BYTES = 64 * 1024 * 1024
ERROR_MAX_BYTES = 64 * 1024
# What an upstream says of the request itself. Anything else it refuses is between it and the operator: 502.
REQUEST_FAULTS = frozenset({400, 413, 422, 429})
RETRY_AFTER_MAX_SECONDS = 3600
REDACTED = "[upstream]"


# This process or machine can open no more connections.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class AllFull(Exception):
    """No call can be made now, and no upstream is to blame: each has as many as it may, or this process has."""


class UpstreamFailed(Exception):
    """No usable answer: unreachable, too slow, broken off, or an error that is not the client's.

    `passing`: the next call to the same upstream may well go through. `begun`: a part of the answer had come.
    """

    def __init__(self, reason: str, *, passing: bool = False, begun: bool = False) -> None:
        super().__init__(reason)
        self.passing, self.begun = passing, begun


class UpstreamCall:
    """An upstream's response, and its place among those in flight, which the first `close` or `release` gives back."""

    __slots__ = ("_places", "_upstream_id", "content", "response")

    def __init__(self, response: aiohttp.ClientResponse, upstream_id: int, places: Counter[int]) -> None:
        self.response = response
        self.content = response.content
        self._upstream_id: int | None = upstream_id
        self._places = places

    def close(self) -> None:
        """Ends the connection."""
        self.response.close()
        self._leave()

    def release(self) -> None:
        """Keeps the connection for another call where everything was read, else ends it."""
        self.response.release()
        self._leave()

    def _leave(self) -> None:
        if self._upstream_id is not None:
            self._places[self._upstream_id] -= 1
            self._upstream_id = None


class Upstreams:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._places: Counter[int] = Counter()  # calls in flight by upstream id

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

    def is_full(self, route: ServedRoute | None = None) -> bool:
        """Whether one call more is one too many, for this process or for the route's upstream."""
        if self._places.total() >= settings.IN_FLIGHT_MAX:
            return True
        most = None if route is None else route.max_in_flight
        return route is not None and most is not None and self._places[route.upstream_id] >= most

    async def send(self, route: ServedRoute, body: bytes, *, deadline: float) -> UpstreamCall:
        """POSTs a completion and waits for a 200's headers. Raises UpstreamFailed, UpstreamRefusal, AllFull.

        `deadline`, here and below, is the event loop's time at which the whole call must be over.
        """
        self._places[route.upstream_id] += 1
        try:
            response = await self._post(route, body, deadline)
        except BaseException:
            self._places[route.upstream_id] -= 1
            raise
        call = UpstreamCall(response, route.upstream_id, self._places)
        if response.status == 200:
            return call
        try:
            raise await _refusal(response, route, deadline)
        finally:
            call.release()

    async def _post(self, route: ServedRoute, body: bytes, deadline: float) -> aiohttp.ClientResponse:
        assert self._session is not None
        try:
            async with asyncio.timeout_at(_by(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS, deadline)):
                return await self._session.post(
                    f"{route.base_url}/chat/completions",
                    data=body,
                    headers={"Authorization": f"Bearer {route.api_key}", "Content-Type": "application/json"},
                    allow_redirects=False,
                )
        except aiohttp.ConnectionTimeoutError:
            raise UpstreamFailed("not reached in time", passing=True) from None
        except TimeoutError:
            raise UpstreamFailed("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                logger.error(  # noqa: TRY400 - a trace adds nothing
                    "no connection can be opened: %s", errno.errorcode[error.errno]
                )
                raise AllFull(f"no connection can be opened: {errno.errorcode[error.errno]}") from error
            raise UpstreamFailed(type(error).__name__, passing=True) from error


async def read_all(
    response: UpstreamCall | aiohttp.ClientResponse, *, deadline: float, most: int = ANSWER_MAX_BYTES
) -> bytes:
    """The whole body, up to `most` bytes. Raises UpstreamFailed, also when no more of it comes for too long."""
    body = bytearray()
    first_by = _by(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS, deadline)
    try:
        async with asyncio.timeout_at(first_by) as patience:
            while chunk := await response.content.readany():
                body += chunk
                if len(body) > most:
                    raise UpstreamFailed("an answer without end", begun=True)
                patience.reschedule(_by(settings.UPSTREAM_IDLE_TIMEOUT_SECONDS, deadline))
    except TimeoutError:
        late = asyncio.get_running_loop().time() >= deadline
        raise UpstreamFailed("took too long" if late else "silent for too long", begun=bool(body)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamFailed(type(error).__name__, passing=True, begun=bool(body)) from error
    return bytes(body)


def _by(seconds: float, deadline: float) -> float:
    return min(asyncio.get_running_loop().time() + seconds, deadline)


async def _refusal(
    response: aiohttp.ClientResponse, route: ServedRoute, deadline: float
) -> UpstreamRefusal | UpstreamFailed:
    if response.status not in REQUEST_FAULTS:
        return UpstreamFailed(f"status {response.status}", passing=response.status >= 500)
    try:
        body = await read_all(
            response, deadline=_by(settings.UPSTREAM_IDLE_TIMEOUT_SECONDS, deadline), most=ERROR_MAX_BYTES
        )
        error = error_of(orjson.loads(body)) or {}
    except (UpstreamFailed, orjson.JSONDecodeError):
        error = {}
    return judged(response.status, error, route, response.headers.get("Retry-After", ""))


def judged(
    status: int, error: dict[str, Any], route: ServedRoute, retry_after: str = ""
) -> UpstreamRefusal | UpstreamFailed:
    """What a status and a decoded error object of an upstream mean, also where they stand inside a 200."""
    if status not in REQUEST_FAULTS:
        return UpstreamFailed(f"status {status}", passing=status >= 500)
    if (fault := quirks.operators_fault(error, route.quirks)) is not None:
        return UpstreamFailed(f"status {status} {fault}")
    return UpstreamRefusal(status, _redacted(error, route), retry_after_seconds=_retry_after(retry_after))


def _retry_after(text: str) -> int | None:
    """Seconds, where that is what an upstream says and it is worth waiting for."""
    if text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= RETRY_AFTER_MAX_SECONDS:
        return int(text)
    return None


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
