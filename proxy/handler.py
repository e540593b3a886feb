"""The API's lean door: an ASGI handler that runs DRF views with no session, CSRF or synchronous middleware.

Django's own handler starts and joins threads for every request (1,720 requests/s on one core against 9,630 here
for the same view) and spools the body to disk before anybody has looked at the key.
"""

import asyncio
import io
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import Any, ClassVar, TypeVar, cast

import uuid_utils.compat as uuid
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver
from rest_framework.request import Request

from proxy import cors
from proxy.completions import CLIENT_LEFT
from proxy.deadline import Deadline
from proxy.errors import APIError, error_response, exception_handler, no_such_endpoint
from proxy.intake import SMALL_BODY_BYTES
from proxy.relay import Relay

logger = logging.getLogger(__name__)

Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]

Answer = TypeVar("Answer")

EVENT_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class APIRequest(ASGIRequest):
    """A request whose body is read when a view asks for it, up to a cap. `extra_headers` go onto any response.

    `abort` cuts the connection at once; it comes with the scope from the server (config.web), and only from there.
    """

    buffered_bytes: ClassVar[int] = 0  # of all bodies that are being read now

    def __init__(self, scope: dict[str, Any], receive: Callable[[], Any]) -> None:
        # Not ASGIRequest's own: it builds META, which costs more than the look at the key, and nobody asks for it.
        self.scope = scope
        self.method = scope["method"].upper()
        self.path = self.path_info = scope["path"]
        self.resolver_match = None
        self.content_type, self.content_params = None, {}
        self.id = uuid.uuid7()
        self.extra_headers: dict[str, str] = {"x-request-id": self.id.hex}
        self.is_counted = False  # by its key's limits
        self.abort: Callable[[], None] = scope["hamiran.abort"]
        self._receive = receive
        self._headers: dict[bytes, bytes] = dict(scope["headers"])

    @cached_property
    def META(self) -> dict[str, Any]:  # type: ignore[override]
        return ASGIRequest(self.scope, io.BytesIO()).META

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty where there is none."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def client_address(self) -> str:
        """As the server knows it, a trusted proxy's header considered; empty on a Unix socket."""
        client = self.scope.get("client")
        return client[0] if client else ""

    async def read_body(self, may_read: "Callable[[int], Awaitable[None]]") -> bytes:
        """The whole body. Raises APIError request_too_large, request_timeout, unsupported_encoding.

        `may_read` is awaited before more than SMALL_BODY_BYTES are read, with how many bytes: all at once where the
        head tells their number, else as they come. What it raises ends the reading.
        """
        if self.header(b"content-encoding").lower() not in {"", "identity"}:
            raise APIError("unsupported_encoding")
        most = settings.BODY_MAX_BYTES
        length = self.header(b"content-length")
        announced = int(length) if length.isdecimal() else 0
        if announced > most:
            raise APIError("request_too_large")
        if announced > SMALL_BODY_BYTES:
            await may_read(announced)
        try:
            return await self._read(most, may_read, allowed=max(announced, SMALL_BODY_BYTES))
        except TimeoutError:
            raise APIError("request_timeout", headers={"Connection": "close"}) from None

    async def while_connected(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What `work` returns. If the client leaves first, it is cancelled with CLIENT_LEFT: ClientDisconnected."""
        working = asyncio.create_task(work)
        leaving = asyncio.create_task(self._until_left())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel(CLIENT_LEFT)
                await asyncio.wait({working})
                if working.cancelled():
                    raise ClientDisconnected
            return working.result()
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait({working})
            if working.cancelled() or working.exception() is not None:
                raise
            # It was done in the same moment: what it began has to be settled by whoever gets it, cancelled likewise.
            cast("asyncio.Task[Any]", asyncio.current_task()).cancel()
            return working.result()
        finally:
            leaving.cancel()

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _read(self, most: int, may_read: "Callable[[int], Awaitable[None]]", *, allowed: int) -> bytes:
        body = bytearray()
        loop = asyncio.get_running_loop()
        idle_seconds = settings.BODY_IDLE_TIMEOUT_SECONDS
        end = loop.time() + settings.BODY_TOTAL_TIMEOUT_SECONDS
        try:
            async with asyncio.timeout(None) as patience:
                while True:
                    patience.reschedule(min(loop.time() + idle_seconds, end))
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnected
                    part = message.get("body", b"")
                    body += part
                    APIRequest.buffered_bytes += len(part)
                    if len(body) > most:
                        raise APIError("request_too_large")
                    if APIRequest.buffered_bytes > settings.BODIES_MAX_BYTES:
                        raise APIError(
                            "service_unavailable", headers={"Retry-After": "5", "Connection": "close"}
                        )
                    if not message.get("more_body"):
                        return bytes(body)
                    if len(body) > allowed:
                        more = min(allowed, most - allowed)
                        allowed += more
                        await may_read(more)
        finally:
            APIRequest.buffered_bytes -= len(body)


def underlying(request: Request) -> APIRequest:
    """What DRF's request is wrapped around."""
    return cast(APIRequest, request._request)


class ClientDisconnected(Exception):
    """The client left before its request was whole; nobody reads an answer."""


class EventStream(HttpResponse):
    """A 200 whose body is a relay's."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.relay = relay


class StreamClient:
    """The client of an event stream: written to under a deadline, and noticed when it leaves.

    `abort` cuts its connection at once, whatever still waits to be sent; who reads too slowly meets it.
    """

    def __init__(self, receive: Receive, send: Send, *, abort: Callable[[], None]) -> None:
        self._receive, self._send, self._abort = receive, send, abort
        self._loop = asyncio.get_running_loop()
        self._write_seconds = settings.CLIENT_WRITE_TIMEOUT_SECONDS
        self._patience = Deadline(self._too_slow)
        self.gone = False
        self.on_gone: Callable[[], None] | None = None

    async def write(self, data: bytes, *, by: float = math.inf, last: bool = False) -> None:
        if self.gone:
            return
        self._patience.start(min(self._loop.time() + self._write_seconds, by))
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        except OSError:
            self._leave()
        self._patience.stop()

    async def watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def close(self) -> None:
        self._patience.close()

    def _too_slow(self) -> None:
        self._leave()
        self._abort()  # which also ends the write that waits

    def _leave(self) -> None:
        if not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()


class APIHandler:
    """ASGI application for the views of one URL configuration. A path's last slash does not matter."""

    def __init__(self, urlconf: str) -> None:
        self._resolver = get_resolver(urlconf)
        self._plain_paths: dict[str, ResolverMatch] = {}  # those of views without arguments: a handful
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._running += 1
        self._idle.clear()
        try:
            await self._serve(scope, receive, send)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def drained(self, *, timeout_seconds: float) -> bool:
        """Waits until no request runs; false if some still do after so long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        request = APIRequest(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnected:
            return
        except asyncio.CancelledError:  # the server stops, and this has taken longer than its grace
            stopped = error_response(APIError("service_unavailable", headers={"Retry-After": "5"}))
            await _send_whole(request, stopped, send)
            raise
        if isinstance(response, EventStream):
            await self._stream(request, response, receive, send)
        else:
            await _send_whole(request, response, send)

    async def _respond(self, request: APIRequest) -> HttpResponseBase:
        if settings.CORS_ALLOWED_ORIGINS and request.path.startswith("/v1/"):
            origin = request.header(b"origin")
            request.extra_headers.update(cors.answer_headers(settings.CORS_ALLOWED_ORIGINS, origin=origin))
            if request.method == "OPTIONS" and origin and request.header(b"access-control-request-method"):
                asked = request.header(b"access-control-request-headers")
                return HttpResponse(status=204, headers=cors.preflight_headers(asked))
        try:
            match = self._resolve(request.path_info.rstrip("/") or "/")
        except Resolver404:
            return error_response(no_such_endpoint(request.path, base_url=settings.BASE_URL))
        try:
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        except ClientDisconnected:
            raise
        except Exception as error:  # a view's own errors are handled by the view; this is the last net
            return exception_handler(error, {"request": request})
        return response

    def _resolve(self, path: str) -> ResolverMatch:
        if (known := self._plain_paths.get(path)) is not None:
            return known
        match = self._resolver.resolve(path)
        if not match.kwargs:
            self._plain_paths[path] = match
        return match

    async def _stream(self, request: APIRequest, response: EventStream, receive: Receive, send: Send) -> None:
        client = StreamClient(receive, send, abort=request.abort)
        watcher = asyncio.create_task(client.watch())
        headers = EVENT_STREAM_HEADERS + _extra_headers(request)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            # A task of its own: each event then wakes five coroutines, not the eleven that stand above as well.
            await asyncio.create_task(response.relay.deliver(client))
        except BaseException:
            await response.relay.abandon("not delivered")  # nothing, where `deliver` has settled it
            raise
        finally:
            client.close()
            watcher.cancel()


def _extra_headers(request: APIRequest) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in request.extra_headers.items()]


async def _send_whole(request: APIRequest, response: HttpResponseBase, send: Send) -> None:
    content: bytes = response.content  # type: ignore[attr-defined]  # whole, so never a StreamingHttpResponse
    own = response.headers
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in own.items()]
    headers += [
        (name.encode("ascii"), value.encode("latin-1"))
        for name, value in request.extra_headers.items()
        if name not in own
    ]
    if response.status_code != 304:  # whose length would be that of what it stands for
        headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else content})
