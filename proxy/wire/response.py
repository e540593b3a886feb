"""An upstream's answer from its head on, pushed as it arrives or read.

Relies on its connection to feed it in order and to end it once.
"""

import asyncio
from typing import Protocol

# Held here for a reader who does not take it; beyond this the connection is not read, so that upstream waits.
UNREAD_MAX_BYTES = 128 * 1024


class NotAnswered(ConnectionError):
    """The connection ended before a byte of an answer. `was_kept`: it had served another request before.

    A kept connection may have been closed while the request was on its way. Whether upstream did the work is unknown:
    nothing here sends a request twice, whoever asked decides.
    """

    def __init__(self, *, was_kept: bool) -> None:
        super().__init__("closed without an answer")
        self.was_kept = was_kept


class BrokenOff(ConnectionError):
    """The connection ended within the answer."""


class Unreadable(ConnectionError):
    """What came is no HTTP, or its head has no end."""


class Sink(Protocol):
    """Takes an answer's body. `end` is called once, after the last `feed`; with an error unless the answer is whole.

    Neither may be called again from within itself, and both may be called while reading is paused: what had arrived by
    then is still given.
    """

    def feed(self, data: bytes) -> None: ...

    def end(self, error: OSError | None) -> None: ...


class Reading(Protocol):
    """What an answer may ask of its connection."""

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Response:
    """`headers` by lower-case name, repeated ones joined with commas.

    Until `consume` is called, what arrives waits for `readany`.
    """

    __slots__ = (
        "_arrived", "_arrived_bytes", "_connection", "_error", "_reader", "_sink", "has_ended", "headers", "status",
    )  # fmt: skip

    def __init__(self, status: int, headers: dict[bytes, bytes], connection: Reading) -> None:
        self.status, self.headers = status, headers
        self.has_ended = False
        self._connection: Reading | None = connection
        self._arrived: list[bytes] = []
        self._arrived_bytes = 0
        self._error: OSError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._sink: Sink | None = None

    # --- for whoever asked ----------------------------------------------------------------------------------------

    def consume(self, sink: Sink) -> None:
        """Gives the sink what has arrived, and the rest as it arrives: no task wakes for it."""
        had_ended = self.has_ended
        if not had_ended:
            self._sink = sink
        if self._arrived:
            sink.feed(self._take())
        if had_ended:
            sink.end(self._error)

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    async def readany(self) -> bytes:
        """What has arrived since the last call, at least a byte; none at the end.

        Raises OSError where the answer is not whole, once everything before that has been given.
        """
        if not self._arrived and not self.has_ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if self._arrived:
            return self._take()
        if self._error is not None:  # a new one: raised, it holds its frames, and these hold this answer
            raise type(self._error)(*self._error.args) from self._error.__cause__
        return b""

    def close(self) -> None:
        """Ends the connection, unless the answer is whole; whoever reads or consumes it is told."""
        if self._connection is not None:
            self._connection.abort()
            self.end(ConnectionAbortedError("closed here"))

    # --- for the connection ---------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.feed(data)
            return
        self._arrived.append(data)
        self._arrived_bytes += len(data)
        if self._arrived_bytes > UNREAD_MAX_BYTES:
            self.pause()
        self._wake()

    def end(self, error: OSError | None) -> None:
        self.has_ended, self._error, self._connection = True, error, None
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.end(error)
        self._wake()

    def _take(self) -> bytes:
        data = self._arrived[0] if len(self._arrived) == 1 else b"".join(self._arrived)
        self._arrived.clear()
        if self._arrived_bytes > UNREAD_MAX_BYTES:
            self.resume()
        self._arrived_bytes = 0
        return data

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
