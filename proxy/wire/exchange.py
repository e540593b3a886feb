"""A request and its answer on the connection they came by, with nothing between the parser and the view.

Relies on the connection's protocol (config.protocol) to tell it what is parsed and when the client has left, by the
attributes that uvicorn's own cycle of a request has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

logger = logging.getLogger(__name__)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Headers = Mapping[str, str]


class ClientLeft(Exception):
    """The client has left before its request was whole; nobody reads an answer."""


class Exchange:
    """`scope` is ASGI's of the request. `has_chunks`: the client knows chunked bodies (HTTP/1.1).

    `on_left` is called once, when the client has left before its answer was complete. A task of the event loop runs
    each exchange; only one of its methods is awaited at a time.
    """

    __slots__ = (
        "_default_headers",
        "_flow",
        "_has_chunks",
        "_on_response",
        "_transport",
        "_waiter",
        "_waits_for_continue",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "on_left",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        *,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        has_chunks: bool,
        expects_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self._transport = transport
        self._flow = flow
        self._default_headers = default_headers
        self._has_chunks = has_chunks
        self._waits_for_continue = expects_continue
        self._on_response = on_response
        self._waiter: asyncio.Future[None] | None = None
        self.on_left: Callable[[], None] | None = None
        # What the protocol reads and writes.
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.keep_alive = keep_alive
        self.response_started = self.response_complete = False

    # --- for the protocol -------------------------------------------------------------------------------------------

    @property
    def message_event(self) -> "Exchange":
        return self

    def set(self) -> None:
        """Something has changed: more of the body has come, or the client has left."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.disconnected and not self.response_complete and self.on_left is not None:
            on_left, self.on_left = self.on_left, None
            on_left()

    async def run_asgi(self, serve: Callable[["Exchange"], Awaitable[None]]) -> None:
        try:
            await serve(self)
        except Exception:
            logger.exception("an exchange failed")
        finally:
            self._on_response = _nothing
            if not self.response_complete and not self.disconnected:
                self._transport.close()

    # --- for the view -----------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """What has come of the body and was not read yet; waits for some. After the end of the body: nothing.

        Raises ClientLeft.
        """
        while not self.body and self.more_body and not self.disconnected:
            if self._waits_for_continue:
                self._waits_for_continue = False
                self._transport.write(CONTINUE)
            self._flow.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.disconnected:
            raise ClientLeft
        part = bytes(self.body)
        self.body = bytearray()
        if not self.more_body:
            self._flow.resume_reading()  # or nobody would notice that the client leaves
        return part

    async def respond(self, status: int, headers: Headers, content: bytes) -> None:
        """A whole answer, in one piece. To a HEAD request only its head is sent."""
        if self._flow.write_paused:
            await self.drained()
        if self.disconnected:
            return
        # The length of a 304 would be that of what it stands for.
        length = b"" if status == 304 else b"content-length: %d\r\n" % len(content)
        body = b"" if self.scope["method"] == "HEAD" else content
        self._transport.write(b"%b%b\r\n%b" % (self._head(status, headers), length, body))
        self._complete()

    def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer whose pieces are then written; without chunks, its end is the connection's."""
        if self.disconnected:
            return
        end = b"transfer-encoding: chunked\r\n\r\n" if self._has_chunks else b"\r\n"
        self._transport.write(self._head(status, headers) + end)

    @property
    def is_full(self) -> bool:
        """Whether the client has yet to take enough of what was written."""
        return self._flow.write_paused and not self.disconnected

    async def drained(self) -> None:
        """Waits until the client has taken enough, or has left."""
        if self.is_full:
            await self._flow.drain()

    def write(self, data: bytes, *, last: bool = False) -> None:
        """One piece. Does nothing once the client has left."""
        if self.disconnected:
            return
        if not self._has_chunks:
            self._transport.write(data)
        elif last:
            piece = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
            self._transport.write(piece)
        elif data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if last:
            self._complete()

    def abort(self) -> None:
        """Cuts the connection at once, whatever still waits to be sent."""
        self._transport.abort()

    def _head(self, status: int, headers: Headers) -> bytes:
        """Up to the headers that say where the body ends."""
        self.response_started = True
        self._waits_for_continue = False
        if headers.get("Connection") == "close":
            self.keep_alive = False
        lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name != "Connection"]
        if not self.keep_alive:
            lines.append("connection: close\r\n")
        text = "".join(lines)
        assert text.count("\n") == text.count("\r") == len(lines), "a header with a line of its own"
        default = b"".join([b"%b: %b\r\n" % header for header in self._default_headers])
        return b"%b%b%b" % (STATUS_LINE[status], default, text.encode("latin-1"))

    def _complete(self) -> None:
        self.response_complete = True
        self.on_left = None
        self.set()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()


def _nothing() -> None:
    pass
