"""How a stream leaves: event by event, to a client that may read slowly or be gone."""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from django.conf import settings
from django.http import HttpResponse

from proxy.deadline import Deadline
from proxy.http.request import Receive, Send

EVENT_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Delivery(Protocol):
    """A stream that has begun: written to its client to the end, or given up."""

    async def deliver(self, client: "StreamClient") -> None: ...

    async def abandon(self, reason: str) -> None: ...


class EventStream(HttpResponse):
    """A 200 whose body is a delivery's."""

    def __init__(self, relay: Delivery) -> None:
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
