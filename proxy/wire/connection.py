"""One connection to an upstream: a request at a time, its answer parsed as it arrives.

Relies on httptools (llhttp) to find where each answer ends.
"""

import asyncio
import select
import zlib
from typing import NamedTuple, Protocol, cast

import httptools

from proxy.deadline import Deadline
from proxy.wire.form import FormBody
from proxy.wire.response import BrokenOff, NotAnswered, Response, Unreadable

# A head; and all that may come without a byte of body: interim answers, chunk lines, trailers. The parser has no limit.
HEAD_MAX_BYTES = 64 * 1024
# What one piece of a compressed body (at most 256 KB as it is read) may become.
INFLATED_MAX_BYTES = 64 * 1024 * 1024
SWITCHING_PROTOCOLS = 101


class Unasked(Exception):
    """Bytes that answer nothing; raised within the parser, which then reads no further."""


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Owner(Protocol):
    def hold(self, connection: "Connection") -> None:
        """It stands."""

    def keep(self, connection: "Connection") -> None:
        """Its answer is whole, and it may serve again."""

    def forget(self, connection: "Connection") -> None:
        """It is over."""


class Connection(asyncio.Protocol):
    idle_since = 0.0  # by the event loop's clock; of meaning only while nothing is asked

    def __init__(self, owner: Owner, origin: Origin) -> None:
        self._loop = asyncio.get_running_loop()
        self.origin = origin
        self._owner = owner
        self._deadline = Deadline(self._too_late)
        self._parser = parser = httptools.HttpResponseParser(self)
        # What servers do that is harmless to whoever reads only their answers, and that other clients read as well.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._transport: asyncio.Transport
        self._readable = select.poll()
        self._has_served = self._has_bytes = self._is_paused = False
        self._answered: asyncio.Future[Response] | None = None  # who asked; None while idle
        self._is_full = False
        self._drained: asyncio.Future[None] | None = None
        self._sending: asyncio.Task[None] | None = None  # a body in pieces that is not all out
        self._start()

    def _start(self) -> None:
        self._response: Response | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._inflate: zlib._Decompress | None = None
        self._overhead_bytes = 0
        self._is_whole = self._may_stay = False

    # --- for the client -------------------------------------------------------------------------------------------

    async def ask(self, head: bytes, body: bytes | FormBody, *, by: float) -> Response:
        """Sends a request and waits for its answer's head. Raises OSError; TimeoutError when `by` has come."""
        if self._transport.is_closing():
            raise NotAnswered(was_kept=self._has_served)
        self._start()
        self._has_bytes = False
        answered: asyncio.Future[Response] = self._loop.create_future()
        self._answered = answered
        self._deadline.start(by)
        if isinstance(body, bytes):
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)
            self._sending = self._loop.create_task(self._send(body))
        try:
            return await answered
        except BaseException:
            if self._answered is answered:  # else its answer is whole, and another may be asking by now
                self.abort()
            raise
        finally:
            del answered  # it holds its error, whose trace holds this frame

    async def _send(self, body: FormBody) -> None:
        """As fast as it is taken. Where an answer has come before, or nobody waits for one, the rest is not sent."""
        try:
            for piece in body.pieces():
                if self._is_full and not self._transport.is_closing():
                    self._drained = self._loop.create_future()
                    await self._drained
                if not self._is_awaited or self._transport.is_closing():
                    return
                self._transport.write(piece)
            self._sending = None
        except Exception as error:
            if self._is_awaited:
                self._fail(error if isinstance(error, OSError) else OSError(repr(error)))

    @property
    def _is_awaited(self) -> bool:
        return self._answered is not None and not self._answered.done()

    def is_usable(self) -> bool:
        """Whether nothing has come while it was idle: neither its end nor bytes that answer nothing."""
        return not (self._transport.is_closing() or self._readable.poll(0))

    # --- for the answer -------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Without waiting for what is still to be sent, or for the peer to agree."""
        self._answered = self._response = None
        self._deadline.stop()
        self._transport.abort()

    def pause_reading(self) -> None:
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    # --- from the event loop --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclasses
        self._owner.hold(self)
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        answered = self._answered
        if answered is None:
            self.abort()
            return
        self._has_bytes = True
        error = self._parse(data)
        response = self._response
        if response is None:
            if error is not None:
                self._fail(error)
            return
        if not answered.done():
            self._deadline.stop()
            answered.set_result(response)
        if self._body:
            try:
                body = self._take_body()
            except zlib.error as broken:
                self._fail(Unreadable(str(broken)))
                return
            if body:
                response.feed(body)
        if self._response is not response:
            return  # whoever took the body has had enough
        if self._is_whole:
            self._finish(response, may_stay=self._may_stay and error is None)
        elif error is not None:
            self._fail(error)

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._deadline.close()
        self.resume_writing()  # whoever sends has to see that it is over
        self._owner.forget(self)
        del self._parser  # it knows this object's methods

    def _end(self, error: Exception | None) -> None:
        """Nothing more comes."""
        response = self._response
        if response is not None and error is None and not _has_length(response.headers):
            self._finish(response, may_stay=False)
        elif self._answered is not None:
            told = (
                BrokenOff(str(error or "closed"))
                if self._has_bytes
                else NotAnswered(was_kept=self._has_served)
            )
            told.__cause__ = error
            self._fail(told)

    # --- from the parser ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_whole:
            raise Unasked

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is not None:
            return  # a trailer
        name = name.lower()
        known = self._headers.get(name)
        self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status <= 199 and status != SWITCHING_PROTOCOLS:
            self._headers = {}
            return
        self._response = Response(status, self._headers, self)
        if self._headers.get(b"content-encoding", b"").lower() in {b"gzip", b"x-gzip", b"deflate"}:
            # Not asked for, and sent by some all the same.
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._response is not None:
            self._is_whole = True
            self._may_stay = self._parser.should_keep_alive()

    # --- within ---------------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> Unreadable | None:
        in_head = self._response is None
        room = HEAD_MAX_BYTES - self._overhead_bytes
        try:
            self._parser.feed_data(data[:room] if in_head else data)
            if self._response is None and len(data) > room:
                return Unreadable("a head without end")
            if in_head and len(data) > room:
                self._parser.feed_data(data[room:])
        except httptools.HttpParserError as error:
            return Unreadable(str(error))
        if self._body or self._is_whole or (in_head and self._response is not None):
            self._overhead_bytes = 0
        else:
            self._overhead_bytes += len(data)
        if self._overhead_bytes > HEAD_MAX_BYTES:
            return Unreadable("chunks without end")
        return None

    def _take_body(self) -> bytes:
        """Raises zlib.error."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        if self._inflate is not None:
            body = self._inflate.decompress(body, INFLATED_MAX_BYTES)
            if self._inflate.unconsumed_tail:
                raise zlib.error("inflates without end")
        return body

    def _finish(self, response: Response, *, may_stay: bool) -> None:
        self._answered = self._response = None
        is_sent = self._sending is None and not self._transport.get_write_buffer_size()
        if may_stay and is_sent and not self._transport.is_closing():
            self._has_served = True
            self.idle_since = self._loop.time()
            self.resume_reading()
            self._owner.keep(self)
        else:
            self.abort()
        response.end(None)

    def _fail(self, error: OSError) -> None:
        answered, response = self._answered, self._response
        self.abort()
        if response is not None:
            response.end(error)
        elif answered is not None and not answered.done():
            answered.set_exception(error)

    def _too_late(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._fail(TimeoutError("no answer in time"))


def _has_length(headers: dict[bytes, bytes]) -> bool:
    """Whether an answer tells its end otherwise than by that of its connection."""
    coding = headers.get(b"transfer-encoding")
    return b"content-length" in headers if coding is None else coding.rstrip().lower().endswith(b"chunked")
