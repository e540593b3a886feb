"""An upstream that sends exactly the bytes that a test says, piece by piece, and ends as it says."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

STAY, CLOSE, HALF_CLOSE, RESET = "stay", "close", "half-close", "reset"
Serve = Callable[["Peer"], Awaitable[None]]


async def turns() -> None:
    """What was written is read, and what was closed is closed, by whoever else is in this event loop."""
    for _ in range(3):
        await asyncio.sleep(0)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)


@dataclass
class Peer:
    """A connection of a client, from the upstream's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes]

    async def request(self) -> bytes:
        """The next one, head and body. Raises IncompleteReadError when the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        self.requests.append(head + await self.reader.readexactly(length))
        return self.requests[-1]

    async def send(self, *pieces: bytes) -> None:
        """Each piece is read by itself: client and upstream share an event loop, which turns between two."""
        for piece in pieces:
            if self.writer.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await turns()

    async def end(self, how: str) -> None:
        if how == HALF_CLOSE:
            self.writer.write_eof()
        elif how == RESET:
            self.writer.transport.abort()
        elif how == CLOSE:
            self.writer.close()
        await turns()


@dataclass
class Upstream:
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"


@asynccontextmanager
async def upstream(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Runs `serve` for each connection."""
    made = Upstream()
    serving: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(Peer(reader, writer, made.requests))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            serving.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


def saying(*pieces: bytes, end: str = STAY) -> Serve:
    """Sends the pieces after each request, and ends the connection in this way unless it stays."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)
            if end != STAY:
                await peer.end(end)
                await peer.reader.read()
                return

    return serve


def one_by_one(data: bytes) -> Sequence[bytes]:
    return [data[place : place + 1] for place in range(len(data))]
