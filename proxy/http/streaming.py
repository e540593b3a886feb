"""How a stream leaves: event by event, to a client that may read slowly or be gone."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Protocol

from django.conf import settings

from proxy.deadline import Deadline
from proxy.wire.exchange import Exchange

EVENT_STREAM_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class Delivery(Protocol):
    """A stream that has begun: written to its client to the end, or given up."""

    async def deliver(self, client: "StreamClient") -> None: ...

    async def abandon(self, reason: str) -> None: ...


class EventStream:
    """A 200 whose body is a delivery's: events, or what `headers` say."""

    __slots__ = ("headers", "relay")
    status_code = 200

    def __init__(self, relay: Delivery, headers: Mapping[str, str] = EVENT_STREAM_HEADERS) -> None:
        self.relay, self.headers = relay, headers


class StreamClient:
    """The client of an event stream: written to under a deadline, and noticed when it leaves.

    Who reads too slowly is cut off at once, whatever still waits to be sent.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._write_seconds = settings.CLIENT_WRITE_TIMEOUT_SECONDS
        self._patience = Deadline(self._too_slow)
        self.gone = exchange.disconnected
        self.on_gone: Callable[[], None] | None = None
        exchange.on_left = self._leave

    @property
    def is_full(self) -> bool:
        """Whether to wait until it has taken more, before more is written."""
        return not self.gone and self._exchange.is_full

    async def drained(self, *, by: float = math.inf) -> None:
        if self.gone or not self._exchange.is_full:
            return
        self._patience.start(min(self._loop.time() + self._write_seconds, by))
        await self._exchange.drained()
        self._patience.stop()

    def push(self, data: bytes) -> None:
        if not self.gone:
            self._exchange.write(data)

    async def write(self, data: bytes, *, by: float = math.inf, last: bool = False) -> None:
        await self.drained(by=by)
        if not self.gone:
            self._exchange.write(data, last=last)

    def break_off(self) -> None:
        """Ends what cannot say that it failed, in the middle: nobody shall take it for whole."""
        if not self.gone:
            self._exchange.abort()

    def close(self) -> None:
        self._patience.close()
        self._exchange.on_left = None

    def _too_slow(self) -> None:
        self._leave()
        self._exchange.abort()  # which also ends the write that waits

    def _leave(self) -> None:
        if not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()
