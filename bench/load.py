"""Many clients at once against one address that ask again and again, and what became of each answer.

What is counted lies between two moments of a load that runs on before and after. A load that starts and stops with the
count, as wrk's does, loses what was under way at its end, which is much of the work of whoever is slow.
"""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
import orjson

from bench.upstream import WORD, model_name

RETRY_SECONDS = 0.05
# Beside the chat's: how each protocol asks, and the last words of its streams.
HELLO: dict[str, object] = {"messages": [{"role": "user", "content": "Hello!"}]}
ASKS: dict[str, dict[str, object]] = {
    "/v1/chat/completions": HELLO | {"stream_options": {"include_usage": True}},
    "/v1/messages": HELLO,
    "/v1/responses": {"input": "Hello!"},
}
ENDS = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/messages": b'{"type":"message_stop"}',
    "/v1/responses": b"}}",
}
TAIL_BYTES = 64  # longer than what can follow the last event, HTTP's own framing taken away


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, and the headers of one contender; a stream has `words`, one every `every_ms`.

    `accepted` is the status that a good answer has. `model`: where it is not named after its pace.
    """

    url: str
    headers: dict[str, str]
    words: int
    every_ms: int
    is_stream: bool = True
    accepted: int = 200
    model: str = ""

    def request(self) -> bytes:
        parts = urlsplit(self.url)
        wanted: dict[str, object] = {
            "model": self.model or model_name(words=self.words, every_ms=self.every_ms),
            "max_output_tokens" if parts.path == "/v1/responses" else "max_tokens": self.words,
            **ASKS[parts.path],
        }
        if self.is_stream:
            wanted["stream"] = True
        else:
            wanted.pop("stream_options", None)
        body = orjson.dumps(wanted)
        lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Tally:
    """What happened since it was begun. `broken` counts by reason; `left` are clients that left on purpose.

    `waits` are seconds from a request to its first word, or to its whole answer where that is not a stream.
    """

    words: int = 0
    whole: int = 0
    left: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def wait_ms(self, share: float) -> float:
        """A percentile of the waits; not a number where there was none."""
        waits = sorted(self.waits)
        return waits[int(len(waits) * share)] * 1000 if waits else float("nan")


class Load:
    """`at_once` clients, each with a connection of its own, that ask again as soon as an answer has ended.

    The first `leavers` of them leave in the middle of every answer.
    """

    def __init__(self, target: Target, *, at_once: int, leavers: int = 0) -> None:
        self.target = target
        self.request = target.request()
        self.end = ENDS[urlsplit(target.url).path]
        self.tally = Tally()
        self.is_ending = False
        self._at_once, self._leavers = at_once, leavers
        self._connections: set[_Connection] = set()
        self._all_gone = asyncio.Event()

    async def ramp(self) -> None:
        """Starts all clients, spread over the time that one stream takes, so that they do not end in step."""
        pause = self.target.words * self.target.every_ms / 1000 / self._at_once
        now = asyncio.get_running_loop().time
        began = now()
        for number in range(self._at_once):
            self.connect(leaves=number < self._leavers)
            await asyncio.sleep(began + (number + 1) * pause - now())

    def connect(self, *, leaves: bool) -> None:
        """A client's first connection, or its next one."""
        if not self.is_ending:
            self._all_gone.clear()
            self._connections.add(_Connection(self, leaves=leaves))

    def gone(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_gone.set()

    def fresh_tally(self) -> Tally:
        """What happened up to now; counting begins anew."""
        before, self.tally = self.tally, Tally()
        return before

    async def drain(self, *, timeout_seconds: float) -> int:
        """Lets every answer end and starts none; returns how many had to be cut off."""
        self.is_ending = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._all_gone.wait()
        cut = list(self._connections)
        for connection in cut:
            connection.close()
        return len(cut)


class _Connection(asyncio.Protocol):
    """Asks again and again until something breaks; then the next connection takes its place."""

    def __init__(self, load: Load, *, leaves: bool) -> None:
        self._load, self._leaves = load, leaves
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport | None = None
        self._is_closed = False
        self._begin()
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        parts = urlsplit(self._load.target.url)
        assert parts.port is not None
        try:
            await self._loop.create_connection(lambda: self, "127.0.0.1", parts.port)
        except OSError as error:
            self._broken(type(error).__name__)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's own are no subclasses
        self._transport.write(self._load.request)

    def _begin(self) -> None:
        self._words, self._tail, self._began = 0, b"", time.perf_counter()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self._broken("bad HTTP")

    def on_body(self, body: bytes) -> None:
        # A word, or what says the end, may be cut in two: what came just before is looked at once more.
        words = (self._tail[1 - len(WORD) :] + body).count(WORD)
        words = min(words, self._load.target.words - self._words)  # the end of a response says them all again
        self._tail = (self._tail + body)[-TAIL_BYTES:]
        if self._is_closed or not words or not self._load.target.is_stream:
            return
        if not self._words:
            self._load.tally.waits.append(time.perf_counter() - self._began)
        self._words += words
        self._load.tally.words += words
        if self._leaves and self._words >= self._load.target.words // 2:
            self._load.tally.left += 1
            self._next()

    def on_message_complete(self) -> None:
        if self._is_closed:
            return
        if fault := self._fault():
            self._broken(fault)
            return
        tally = self._load.tally
        tally.whole += 1
        if not self._load.target.is_stream:
            tally.waits.append(time.perf_counter() - self._began)
        if self._load.is_ending or not self._parser.should_keep_alive() or self._transport is None:
            self._next()
        else:
            self._begin()
            self._transport.write(self._load.request)

    def _fault(self) -> str:
        """What is wrong with the answer that has just ended; empty where nothing is."""
        target, status = self._load.target, self._parser.get_status_code()
        if status != target.accepted:
            return f"status {status}"
        if target.is_stream and self._load.end not in self._tail:
            return "no end"
        if target.is_stream and self._words != target.words:
            return "words missing"
        return ""

    def connection_lost(self, exc: Exception | None) -> None:
        self._broken("connection lost")

    def _broken(self, reason: str) -> None:
        if not self._is_closed:
            self._load.tally.broken[reason] += 1
            self._next(RETRY_SECONDS)

    def _next(self, pause_seconds: float = 0) -> None:
        self.close()
        self._loop.call_later(pause_seconds, lambda: self._load.connect(leaves=self._leaves))

    def close(self) -> None:
        self._is_closed = True
        self._load.gone(self)
        if self._transport is not None:
            self._transport.abort()
        else:
            self._opening.cancel()
