"""A request as it comes in: its headers, its body up to a cap, and whether its client is still there."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import IO, Any, ClassVar, TypeVar, cast
from urllib.parse import parse_qsl

import uuid_utils.compat as uuid
from django.conf import settings

from keys.admin_lookup import AdminIdentity
from keys.lookup import KeyIdentity
from proxy.errors import APIError
from proxy.http.responses import id_headers
from proxy.limits.intake import SMALL_BODY_BYTES
from proxy.wire.exchange import ClientLeft, Exchange
from proxy.wire.traces import Trace

PASSED_MAX_CHARACTERS = 2_048  # of a header that goes on to an upstream

Answer = TypeVar("Answer")


class APIRequest:
    """What a view is given. `extra_headers` go onto any response.

    `auth` is who asks, once that is known, or `admin` where it is an admin key. The body is read when a view asks for
    it, up to a cap.
    """

    buffered_bytes: ClassVar[int] = 0  # of all bodies that are being read now

    def __init__(self, exchange: Exchange) -> None:
        scope = exchange.scope
        self.exchange = exchange
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.id = uuid.uuid7()
        self.auth: KeyIdentity | None = None
        self.admin: AdminIdentity | None = None
        self.id_text: str = self.id.hex
        self.extra_headers: dict[str, str] = id_headers(self.id_text)
        self.is_counted = False  # by its key's limits
        self.trace: Trace | None = None
        self._headers: dict[bytes, bytes] = dict(scope["headers"])

    @property
    def key(self) -> KeyIdentity:
        """Whose request it is, in views that ask for a key."""
        assert self.auth is not None
        return self.auth

    @property
    def user_id(self) -> int:
        """Whose account it is, in views that ask for a key of either kind."""
        return self.admin.user_id if self.admin is not None else self.key.user_id

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty where there is none."""
        return self._headers.get(name, b"").decode("latin-1")

    def every(self, name: bytes) -> list[str]:
        """Each of the headers of this name, which stands in lower case."""
        return [value.decode("latin-1") for each, value in self.exchange.scope["headers"] if each == name]

    def passed_on(self, *names: bytes) -> dict[str, str]:
        """Those of these headers that are there and can be sent on as they are: an odd one is no upstream's failure."""
        found = {name.decode(): self.header(name) for name in names}
        return {
            name: value
            for name, value in found.items()
            if 0 < len(value) <= PASSED_MAX_CHARACTERS and value.isascii() and value.isprintable()
        }

    @property
    def query(self) -> dict[str, str]:
        """What the address says behind its `?`; of a name that comes twice, the last."""
        return dict(parse_qsl(self.exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @property
    def client_address(self) -> str:
        """As the server knows it, a trusted proxy's header considered; empty on a Unix socket."""
        client = self.exchange.scope.get("client")
        return client[0] if client else ""

    async def read_body(self, may_read: "Callable[[int], Awaitable[None]]") -> bytes:
        """The whole body. Raises APIError request_too_large, request_timeout, unsupported_encoding.

        `may_read` is awaited before more than SMALL_BODY_BYTES are read, with how many bytes: all at once where the
        head tells their number, else as they come. What it raises ends the reading.
        """
        if self.header(b"content-encoding").lower() not in {"", "identity"}:
            raise APIError("unsupported_encoding")
        exchange, maximum = self.exchange, settings.BODY_MAX_BYTES
        if not exchange.more_body and len(exchange.body) <= min(SMALL_BODY_BYTES, maximum):
            return await exchange.read()  # most have come with their head
        body = bytearray()
        await self._read(body.extend, maximum, may_read)
        return bytes(body)

    async def spool_body(
        self, file: IO[bytes], may_read: "Callable[[int], Awaitable[None]]", *, max_bytes: int
    ) -> int:
        """Writes the body into a file, under the same caps and another length; returns how long it was."""
        if self.header(b"content-encoding").lower() not in {"", "identity"}:
            raise APIError("unsupported_encoding")
        return await self._read(file.write, max_bytes, may_read)

    async def _read(
        self, keep: Callable[[bytes], object], maximum: int, may_read: "Callable[[int], Awaitable[None]]"
    ) -> int:
        length = self.header(b"content-length")
        announced = int(length) if length.isdecimal() else 0
        if announced > maximum:
            raise APIError("request_too_large")
        if announced > SMALL_BODY_BYTES:
            await may_read(announced)
        try:
            return await self._read_parts(keep, maximum, may_read, allowed=max(announced, SMALL_BODY_BYTES))
        except TimeoutError:
            raise APIError("request_timeout", headers={"Connection": "close"}) from None

    async def while_connected(
        self, work: Coroutine[Any, Any, Answer], *, on_left: Callable[[], None] | None, seconds: float | None
    ) -> "Answer | asyncio.Task[Answer]":
        """What `work` returns, or its task where that takes longer than so many seconds (None: any time).

        If the client leaves first: `on_left` is called, `work` cancelled, ClientLeft. None: it is not waited for.

        A server that stops cancels the caller. `work` may have ended in that very moment, and what it began (a
        relay, with a hold behind it) must not be lost: then the result is returned, and the cancellation comes again
        at whatever the caller awaits next, where the result is in hands that settle it.
        """
        exchange, working = self.exchange, asyncio.create_task(work)
        try:
            if on_left is not None:
                if exchange.disconnected:
                    _leave(working, on_left)
                else:
                    exchange.on_left = partial(_leave, working, on_left)
            await asyncio.wait({working}, timeout=seconds)
            if not working.done():
                return working
            if exchange.disconnected and working.cancelled():
                raise ClientLeft
            return working.result()
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait({working})
            if working.cancelled() or working.exception() is not None:
                raise
            cast("asyncio.Task[Any]", asyncio.current_task()).cancel()
            return working.result()
        finally:
            exchange.on_left = None
            # Its exception holds this frame: together they would wait for the garbage collector.
            del working

    async def _read_parts(
        self,
        keep: Callable[[bytes], object],
        maximum: int,
        may_read: "Callable[[int], Awaitable[None]]",
        *,
        allowed: int,
    ) -> int:
        exchange, length = self.exchange, 0
        loop = asyncio.get_running_loop()
        idle_seconds = settings.BODY_IDLE_TIMEOUT_SECONDS
        end = loop.time() + settings.BODY_TOTAL_TIMEOUT_SECONDS
        try:
            async with asyncio.timeout(None) as patience:
                while True:
                    patience.reschedule(min(loop.time() + idle_seconds, end))
                    part = await exchange.read()
                    keep(part)
                    length += len(part)
                    APIRequest.buffered_bytes += len(part)
                    if length > maximum:
                        raise APIError("request_too_large")
                    if APIRequest.buffered_bytes > settings.BODIES_MAX_BYTES:
                        raise APIError(
                            "service_unavailable", headers={"Retry-After": "5", "Connection": "close"}
                        )
                    if not exchange.more_body and not exchange.body:
                        return length
                    if length > allowed:
                        more = min(allowed, maximum - allowed)
                        allowed += more
                        await may_read(more)
        finally:
            APIRequest.buffered_bytes -= length


def _leave(working: "asyncio.Task[Any]", on_left: Callable[[], None]) -> None:
    on_left()
    working.cancel()
