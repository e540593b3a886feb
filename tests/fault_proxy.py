"""A relay between two Unix sockets, in front of PostgreSQL or Valkey, that can fail the way networks do."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

POSTGRES_SOCKET = ".s.PGSQL.5432"


class FaultProxy:
    """Listens on one socket and passes everything on to the server behind another. For one event loop."""

    def __init__(self, *, listen: Path, server: Path) -> None:
        self._listen = listen
        self._server_socket = str(server)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._replies_lost = False
        self.swallowed = 0  # pieces of answers that were lost
        self._delay_seconds = 0.0
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        self._listen.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._listener = await asyncio.start_unix_server(self._accept, self._listen)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self.heal()
        self.cut()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def cut(self) -> None:
        """Every connection breaks at once, both ways."""
        for pair in list(self._pairs):
            for end in pair:
                end.transport.abort()

    def stall(self) -> None:
        """Nothing moves any more, new connections included; nobody is told."""
        self._flowing.clear()

    def lose_replies(self) -> None:
        """What is asked arrives and is carried out; the answers vanish."""
        self._replies_lost = True

    def half_close(self) -> None:
        """The server's side of every connection ends in order; what the client still sends arrives."""
        for client, _server in list(self._pairs):
            with contextlib.suppress(OSError, RuntimeError):
                client.write_eof()

    def delay(self, seconds: float) -> None:
        """Everything arrives, so much later."""
        self._delay_seconds = seconds

    def talk_nonsense(self) -> None:
        """A byte that no server sends reaches every client, between two answers."""
        for client, _server in list(self._pairs):
            with contextlib.suppress(RuntimeError):  # one whose server has just ended
                client.write(b"\x00")

    def heal(self) -> None:
        """Works again; connections that lost replies are of no use any more and break."""
        self._delay_seconds = 0.0
        self._flowing.set()
        if self._replies_lost:
            self._replies_lost = False
            self.cut()

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        try:
            await self._flowing.wait()
            answers, server = await asyncio.open_unix_connection(self._server_socket)
        except OSError:
            client.transport.abort()
            return
        pair = client, server
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(reader, server), self._pump(answers, client, answers=True))
        finally:
            self._pairs.discard(pair)
            for end in pair:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(self._delay_seconds)
                await self._flowing.wait()
                if answers and self._replies_lost:
                    self.swallowed += 1
                    continue
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            writer.transport.abort()


class FaultThread:
    """A FaultProxy with a thread and an event loop of its own, for tests that are no coroutines."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(proxy.start(), self._loop).result(5)

    def do(self, fault: Callable[[FaultProxy], None]) -> None:
        """`do(FaultProxy.cut)`, say; done when this returns."""

        async def carry_out() -> None:
            fault(self.proxy)

        asyncio.run_coroutine_threadsafe(carry_out(), self._loop).result(5)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@contextlib.contextmanager
def faulty(*, listen: Path, server: Path) -> Iterator[FaultThread]:
    proxy = FaultThread(FaultProxy(listen=listen, server=server))
    try:
        yield proxy
    finally:
        proxy.close()
