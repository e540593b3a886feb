"""A request as it comes in: its headers, its body up to a cap, and whether its client is still there."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import Any, ClassVar, TypeVar, cast

import uuid_utils.compat as uuid
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from rest_framework.request import Request

from proxy.errors import APIError
from proxy.limits.intake import SMALL_BODY_BYTES

Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]

Answer = TypeVar("Answer")


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
        maximum = settings.BODY_MAX_BYTES
        length = self.header(b"content-length")
        announced = int(length) if length.isdecimal() else 0
        if announced > maximum:
            raise APIError("request_too_large")
        if announced > SMALL_BODY_BYTES:
            await may_read(announced)
        try:
            return await self._read(maximum, may_read, allowed=max(announced, SMALL_BODY_BYTES))
        except TimeoutError:
            raise APIError("request_timeout", headers={"Connection": "close"}) from None

    async def while_connected(
        self, work: Coroutine[Any, Any, Answer], *, on_left: Callable[[], None]
    ) -> Answer:
        """What `work` returns. If the client leaves first: `on_left` is called, `work` cancelled, ClientDisconnected.

        A server that stops cancels the caller. `work` may have ended in that very moment, and what it began (a
        relay, with a hold behind it) must not be lost: then the result is returned, and the cancellation comes again
        at whatever the caller awaits next, where the result is in hands that settle it.
        """
        working = asyncio.create_task(work)
        leaving = asyncio.create_task(self._until_left())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                on_left()
                working.cancel()
                await asyncio.wait({working})
                if working.cancelled():
                    raise ClientDisconnected
            return working.result()
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait({working})
            if working.cancelled() or working.exception() is not None:
                raise
            cast("asyncio.Task[Any]", asyncio.current_task()).cancel()
            return working.result()
        finally:
            leaving.cancel()
            # Its exception holds this frame: together they would wait for the garbage collector.
            del working

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _read(
        self, maximum: int, may_read: "Callable[[int], Awaitable[None]]", *, allowed: int
    ) -> bytes:
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
                    if len(body) > maximum:
                        raise APIError("request_too_large")
                    if APIRequest.buffered_bytes > settings.BODIES_MAX_BYTES:
                        raise APIError(
                            "service_unavailable", headers={"Retry-After": "5", "Connection": "close"}
                        )
                    if not message.get("more_body"):
                        return bytes(body)
                    if len(body) > allowed:
                        more = min(allowed, maximum - allowed)
                        allowed += more
                        await may_read(more)
        finally:
            APIRequest.buffered_bytes -= len(body)


def underlying(request: Request) -> APIRequest:
    """What DRF's request is wrapped around."""
    return cast(APIRequest, request._request)


class ClientDisconnected(Exception):
    """The client left before its request was whole; nobody reads an answer."""
