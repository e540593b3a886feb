"""One client's connection: uvicorn's protocol, made to refuse in the API's own words and never to misread a byte.

What cannot be read as HTTP is answered with a JSON error and an x-request-id, like any other mistake. A wish to change
the protocol is ignored. Bytes that follow a whole request and are none themselves end the connection after its answer.
"""

import asyncio
import logging
from itertools import chain
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uuid_utils.compat as uuid
from django.conf import settings
from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from config import asgi, forwarded
from proxy.deadline import Deadline
from proxy.errors import APIError
from proxy.http import addresses
from proxy.http.responses import error_response, id_headers
from proxy.wire.exchange import Exchange

logger = logging.getLogger(__name__)

# Longer than load balancers and SDKs keep an idle connection (nginx: 60 s, httpx: 5 s), so that they close it. Closed
# from here it could be closed on a request that is on its way, which they cannot know to be safe to repeat.
KEEP_ALIVE_SECONDS = 75
# Request line and headers together. The parser itself has no limit: one endless header would fill the memory.
HEAD_MAX_BYTES = 64 * 1024
# A socket that is closed on bytes it has not read is reset, and the client loses the refusal that it was to read.
LINGER_SECONDS = 1.0
VERSIONS = frozenset({"1.0", "1.1"})
UPGRADE_HEADERS = frozenset({b"upgrade", b"http2-settings"})


class NotServed(Exception):
    """Well-formed HTTP that this server does not speak; raised within the parser, which then reads no further."""


class UntilClose(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: where its length is not told, its end is the connection's."""

    _until_close = False

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _value in message.get("headers", [])}
            self._until_close = b"content-length" not in names
            self.chunked_encoding = False if self._until_close else None
        elif self._until_close:
            self.expected_content_length = len(cast("dict[str, Any]", message).get("body", b""))
        await super().send(message)


class Protocol(HttpToolsProtocol):
    """Ends a connection that sends HEAD_MAX_BYTES without a byte of body: in a head (431), trailers, chunk lines."""

    _in_head = _in_body = False
    _is_deaf = False  # nothing more is read as a request
    _idle_bytes = 0
    _idle_since = 0.0  # by the event loop's clock; meaningful only while nothing runs
    # The one whose answer is being made; `cycle` is the newest, and may wait.
    _running: RequestResponseCycle | None = None
    _wanted_upgrade: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._idle_since = self.loop.time()
        # From the connection's or the head's first byte on: a client that sends slowly keeps a descriptor from others.
        self._head_deadline = Deadline(self._no_head)
        self._head_deadline.start(self._idle_since + settings.BODY_IDLE_TIMEOUT_SECONDS)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_deadline.close()
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells only the newest, which may still be waiting behind this one.
            self._running.disconnected = True
            self._running.message_event.set()
        self._running = self._wanted_upgrade = None
        super().connection_lost(exc)

    # --- what comes in --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._idle_bytes += len(data)
        if self._is_deaf:
            if self._idle_bytes > HEAD_MAX_BYTES:
                self.flow.pause_reading()
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            too_large = self._in_head and self._idle_bytes > HEAD_MAX_BYTES
            self._refuse("headers_too_large" if too_large else "bad_request", reason=str(error))
        else:
            if self._idle_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
                self._refuse("headers_too_large" if self._in_head else "bad_request", reason="endless")

    def _feed(self, data: bytes) -> None:
        """Parses it. A request that wants another protocol is parsed once more, by a new parser, without that wish.

        RFC 9110 7.8 lets a server ignore the wish; the parser does not: it takes the body for the other protocol's,
        and what follows for the next request. Only the same parser can be trusted to find where the body ends.
        Raises HttpParserError.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as wish:
                if self.parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("CONNECT is not served") from None
                data = data[wish.args[0] :]
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)
                self._wanted_upgrade = self.cycle
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        lines = [
            b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        for name, value in self.headers:
            if name == b"connection":
                kept = [token for token in value.split(b",") if token.strip().lower() not in UPGRADE_HEADERS]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in UPGRADE_HEADERS:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        if self._wanted_upgrade is not None:
            # It may belong to the other protocol after all, sent by a client that did not wait for the upgrade.
            if not self._wanted_upgrade.response_complete:
                raise NotServed
            self._wanted_upgrade = None
        self._in_head = True
        self._head_deadline.start(self.loop.time() + settings.BODY_IDLE_TIMEOUT_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # parsed once more
        version = self.parser.get_http_version()
        head_bytes = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if version not in VERSIONS or head_bytes > HEAD_MAX_BYTES:  # a long one may arrive in one piece
            raise NotServed
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        path, query = unquote(path) if "%" in path else path, url.query or b""
        if query and path in addresses.BASES:
            path, query = addresses.mended(path, query)
        self.scope["path"], self.scope["query_string"] = path, query
        self.scope["raw_path"] = url.path
        self._in_head, self._in_body, self._idle_bytes = False, True, 0
        self._head_deadline.stop()
        previous = self.cycle
        self.cycle, app = self._exchange(has_chunks=version == "1.1")
        if previous is None or previous.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _exchange(self, *, has_chunks: bool) -> tuple[RequestResponseCycle, ASGI3Application]:
        """The request's own object and who serves it: the API without ASGI, all else with uvicorn's cycle."""
        scope, keep_alive = self.scope, has_chunks and self.parser.should_keep_alive()
        if asgi.is_for_the_api(scope["path"]):
            forwarded.apply(cast("dict[str, Any]", scope))
            exchange = Exchange(
                cast("dict[str, Any]", scope),
                transport=self.transport,
                flow=self.flow,
                default_headers=self.server_state.default_headers,
                has_chunks=has_chunks,
                expects_continue=self.expect_100_continue,
                keep_alive=keep_alive,
                on_response=self.on_response_complete,
            )
            # It has what is used here of a cycle, and so has the handler of an application.
            return cast(RequestResponseCycle, exchange), cast("ASGI3Application", asgi.api)
        cycle = (RequestResponseCycle if has_chunks else UntilClose)(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        return cycle, self.app

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body, self._idle_bytes = False, 0
        super().on_message_complete()

    # --- what goes out --------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        self._head_deadline.start(self._idle_since + KEEP_ALIVE_SECONDS)
        super().on_response_complete()

    def _refuse(self, code: str, *, reason: str) -> None:
        """Reads nothing more. What was asked rightly is answered first; a request that broke off is told why."""
        self._is_deaf = True
        broke_off = self._in_body
        if broke_off and self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()  # while it waited for its turn
            broke_off = False
        last = self.pipeline[0][0] if self.pipeline else self._running
        if last is not None and not last.response_complete and (last.response_started or not broke_off):
            last.keep_alive = False
        elif last is not None and last.response_complete and broke_off:
            self.transport.close()  # answered without its body
        else:
            if broke_off and last is not None:
                last.disconnected = True  # for the code that waits for its body
                last.message_event.set()
            if not self.transport.is_closing():
                self._send_refusal(APIError(code), reason=reason)

    def _send_refusal(self, error: APIError, *, reason: str) -> None:
        request_id = uuid.uuid7().hex
        logger.warning(
            "request not read", extra={"request": request_id, "error": error.code, "reason": reason}
        )
        body = error_response(error).content
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in id_headers(request_id).items()),
            (b"connection", b"close"),
        ]
        lines = [STATUS_LINE[error.status], *(b"%s: %s\r\n" % header for header in headers), b"\r\n", body]
        self.transport.write(b"".join(lines))
        self.transport.write_eof()
        self._head_deadline.start(self.loop.time() + LINGER_SECONDS)

    def _no_head(self) -> None:
        if self._is_deaf or self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # of a request that was sent before the last one was answered
            self._head_deadline.start(self.loop.time() + settings.BODY_IDLE_TIMEOUT_SECONDS)

    # --- the end of the process -----------------------------------------------------------------------------------

    def begin_to_leave(self) -> None:
        """Makes an answer that has not begun the last of its connection, and has it say so.

        One that has begun promised to keep the connection, and its client may use it again at once: it stays.
        """
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def leave_if_idle(self, *, since: float) -> None:
        """Closes when nothing was asked or answered since then, by the event loop's clock."""
        idle = not self._in_head and (self.cycle is None or self.cycle.response_complete)
        if idle and self._idle_since <= since:
            self.transport.close()
