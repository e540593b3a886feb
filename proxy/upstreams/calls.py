"""Calls to upstreams: one connection pool per process, and what their answers mean before the first byte."""

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts.shared import outbound
from proxy.catalogue import quirks
from proxy.catalogue.served import ServedRoute
from proxy.errors import TOO_LARGE, TOO_MANY_REQUESTS, APIError, wait_headers
from proxy.upstreams import redaction
from proxy.upstreams.errors import CODE, Fault, error_in, fault_of, retry_after_seconds
from proxy.upstreams.protocols import UpstreamProtocol
from proxy.wire.client import Client, NotReached, Target, target
from proxy.wire.form import FormBody
from proxy.wire.response import Response

logger = logging.getLogger(__name__)

UPSTREAM_RETRY_AFTER_SECONDS = 5  # where an upstream's 429 names no wait

FULL_CONTEXT = "context_length_exceeded"

ANSWER_MAX_BYTES = 64 * 1024 * 1024
ERROR_MAX_BYTES = 64 * 1024
NO_TIMEOUT = contextlib.nullcontext()
ERROR_SECONDS = 5.0  # an upstream's words about a failure are not worth a longer wait


# This process or machine can open no more connections.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class UpstreamRefusal(APIError):
    """What an upstream says of the request itself, passed on in the OpenAI shape; or its 429, in our words.

    `error`: `message`, `code` and `param`, each without the operator's names. `retry_after_seconds`: what it asked for.
    """

    def __init__(self, status: int, error: dict[str, Any], *, retry_after_seconds: int | None = None) -> None:
        if status == TOO_MANY_REQUESTS:  # its words and code tell of the operator's account
            wait = UPSTREAM_RETRY_AFTER_SECONDS if retry_after_seconds is None else retry_after_seconds
            super().__init__("rate_limit_exceeded", headers=wait_headers(wait))
        else:
            default = "request_too_large" if status == TOO_LARGE else "invalid_value"
            super().__init__(default, message=error.get("message"), param=error.get("param"))
            self.code = error.get("code")
        self.status, self.retry_after_seconds = status, retry_after_seconds

    def name_prompt(self, field: str) -> None:
        """Where the context was full, says which field of the client's body the prompt stands in."""
        if self.code == FULL_CONTEXT:
            self.param = field


class AllFull(Exception):
    """No call can be made now, and no upstream is to blame: they, or this process, have as many as they may."""


class UpstreamFailed(Exception):
    """No usable answer: unreachable, too slow, broken off, or an error that is not the client's.

    `passing`: the next call to the same upstream may well go through. `begun`: a part of the answer had come.
    `operators`: the upstream is well, but refuses the operator (a wrong key, an unpaid bill, a model it does not
    have). `retry_after_seconds`: what it asked for, if anything.
    """

    def __init__(
        self,
        reason: str,
        *,
        passing: bool = False,
        begun: bool = False,
        operators: bool = False,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.passing, self.begun, self.operators = passing, begun, operators
        self.retry_after_seconds = retry_after_seconds


class UpstreamCall:
    """An upstream's response, and its place among those in flight, which the first `close` gives back."""

    __slots__ = ("_places", "_upstream_id", "content")

    def __init__(self, response: Response, upstream_id: int, places: Counter[int]) -> None:
        self.content = response
        self._upstream_id: int | None = upstream_id
        self._places = places

    def close(self) -> None:
        """Ends the connection, unless the answer is whole: then it serves another call."""
        self.content.close()
        self._leave()

    def _leave(self) -> None:
        if self._upstream_id is not None:
            self._places[self._upstream_id] -= 1
            self._upstream_id = None


class Upstreams:
    def __init__(self) -> None:
        self._client: Client | None = None
        self._places: Counter[int] = Counter()  # calls in flight by upstream id

    def start(self) -> None:
        resolver = PublicResolver()

        async def addresses(host: str, port: int) -> list[str]:
            return [found["host"] for found in await resolver.resolve(host, port)]

        self._client = Client(resolve=addresses, connect_seconds=settings.UPSTREAM_CONNECT_TIMEOUT_SECONDS)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def is_full(self, route: ServedRoute | None = None) -> bool:
        """Whether this process or the route's upstream has no room for another call."""
        if self._places.total() >= settings.IN_FLIGHT_MAX:
            return True
        if route is None or route.max_in_flight is None:
            return False
        return self._places[route.upstream_id] >= route.max_in_flight

    async def send(
        self,
        route: ServedRoute,
        protocol: UpstreamProtocol,
        body: bytes | FormBody,
        *,
        stream: bool,
        deadline: float,
        headers: Mapping[str, str] | None = None,
    ) -> UpstreamCall:
        """POSTs a request and waits for a 200's headers. Raises UpstreamFailed, UpstreamRefusal, AllFull.

        `headers` are the client's, to be sent on.
        A stream has to begin soon; a whole answer may come at the last moment.
        `deadline`, here and below, is the event loop's time at which the whole call must be over.
        """
        headers_by = _by(settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS, deadline) if stream else deadline
        self._places[route.upstream_id] += 1
        try:
            response = await self._post(route, protocol, body, headers_by, headers or {})
        except BaseException:
            self._places[route.upstream_id] -= 1
            raise
        call = UpstreamCall(response, route.upstream_id, self._places)
        if response.status == 200:
            return call
        try:
            raise await _refusal(call, route, deadline)
        finally:
            call.close()

    async def _post(
        self,
        route: ServedRoute,
        protocol: UpstreamProtocol,
        body: bytes | FormBody,
        headers_by: float,
        headers: Mapping[str, str],
    ) -> Response:
        assert self._client is not None
        try:
            there = _target(route.base_url, route.api_key, protocol, tuple(headers.items()))
            return await self._client.post(there, body, by=headers_by)
        except NotReached:
            raise UpstreamFailed("not reached in time", passing=True) from None
        except TimeoutError:
            raise UpstreamFailed("no answer in time") from None
        except (OSError, ValueError) as error:  # a ValueError where URL or key cannot be sent
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                logger.error(  # noqa: TRY400 - a trace adds nothing
                    "no connection can be opened: %s", errno.errorcode[error.errno]
                )
                raise AllFull(f"no connection can be opened: {errno.errorcode[error.errno]}") from error
            drop_tracebacks(error)
            raise UpstreamFailed(type(error).__name__, passing=True) from error


@functools.lru_cache(maxsize=1024)
def _target(
    base_url: str, api_key: str, protocol: UpstreamProtocol, headers: tuple[tuple[str, str], ...]
) -> Target:
    """Raises ValueError."""
    key = {protocol.key_header: api_key} if protocol.key_header else {}
    ours = {
        "User-Agent": "hamiran",
        "Authorization": f"Bearer {api_key}",
        "Content-Type": protocol.content_type,
    }
    return target(base_url + protocol.path, dict(protocol.headers) | dict(headers) | key | ours)


async def read_all(call: UpstreamCall, *, deadline: float, max_bytes: int = ANSWER_MAX_BYTES) -> bytes:
    """The whole body, up to `max_bytes`. Raises UpstreamFailed."""
    body, content = bytearray(), call.content
    try:
        # Most have come with their head: for them no clock is set (7 µs).
        async with NO_TIMEOUT if content.has_ended else asyncio.timeout_at(deadline):
            while chunk := await content.readany():
                body += chunk
                if len(body) > max_bytes:
                    raise UpstreamFailed("an answer without end", begun=True)
    except TimeoutError:
        raise UpstreamFailed("took too long", begun=bool(body)) from None
    except OSError as error:
        drop_tracebacks(error)
        raise UpstreamFailed(type(error).__name__, passing=True, begun=bool(body)) from error
    return bytes(body)


def drop_tracebacks(error: BaseException | None) -> None:
    """Cuts a failure loose from the frames it came through: some hold it in turn, so that all of them, and with them
    a request that is over, would wait for the garbage collector.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _by(seconds: float, deadline: float) -> float:
    return min(asyncio.get_running_loop().time() + seconds, deadline)


async def _refusal(
    call: UpstreamCall, route: ServedRoute, deadline: float
) -> UpstreamRefusal | UpstreamFailed:
    error: dict[str, Any] = {}
    status, headers = call.content.status, call.content.headers
    if status >= 400:
        with contextlib.suppress(UpstreamFailed):  # its status says enough
            error = error_in(
                await read_all(call, deadline=_by(ERROR_SECONDS, deadline), max_bytes=ERROR_MAX_BYTES)
            )
    return judged(status, error, route, retry_after=headers.get(b"retry-after", b"").decode("latin-1"))


def judged(
    status: int, error: dict[str, Any], route: ServedRoute, *, retry_after: str = ""
) -> UpstreamRefusal | UpstreamFailed:
    """What an upstream's error means. `error` comes from `error_of`, `retry_after` is that header.

    What is about the request is a refusal, in the upstream's words; anything else is a failure without words.
    """
    wait = retry_after_seconds(retry_after, error, now=datetime.now(UTC))
    match fault_of(status, error, route.quirks):
        case Fault.LIMIT:
            return UpstreamRefusal(TOO_MANY_REQUESTS, {}, retry_after_seconds=wait)
        case Fault.REQUEST:
            return UpstreamRefusal(status if status < 500 else 400, _told(error, route))
        case Fault.FULL_CONTEXT:
            told = _told(error, route)
            return UpstreamRefusal(400, told | {"code": FULL_CONTEXT, "param": None})
        case Fault.OPERATOR:
            named = quirks.operators_fault(error, route.quirks)
            reason = f"status {status} {named}" if named else f"status {status}"
            return UpstreamFailed(reason, operators=True)
    return UpstreamFailed(f"status {status}", passing=status >= 408, retry_after_seconds=wait)


def _told(error: dict[str, Any], route: ServedRoute) -> dict[str, str | None]:
    """Message, code and param without the operator's names. A code is a word, never a number."""
    address = urlsplit(route.base_url)
    told: dict[str, str | None] = {}
    for name in ("message", "code", "param"):
        text = error.get(name)
        told[name] = (
            text
            and redaction.redacted(
                text,
                key=route.api_key,
                hosts=(route.base_url, address.netloc, address.hostname or ""),
                model=route.upstream_model,
            )
            if isinstance(text, str)
            else None
        )
    if told["code"] is not None and CODE.fullmatch(told["code"]) is None:
        told["code"] = None
    return told


class SystemResolver:
    async def resolve(self, host: str, port: int) -> list[dict[str, Any]]:
        """The `host` of each is an IP address; as it is where it was asked for one. Raises OSError."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
            return [{"host": address[0]} for *_kind, address in found]
        return [{"host": host}]


class PublicResolver:
    """Resolves upstreams' names to public addresses only, also when a name changes its mind after it was checked."""

    def __init__(self) -> None:
        self._resolver = SystemResolver()

    async def resolve(self, host: str, port: int) -> list[dict[str, Any]]:
        found = [one["host"] for one in await self._resolver.resolve(host, port)]
        addresses = outbound.allowed(host, found, allowed_hosts=settings.UPSTREAM_ALLOWED_HOSTS)
        if not addresses:
            raise OSError(f"{host} has no public address")
        return [{"host": each} for each in addresses]
