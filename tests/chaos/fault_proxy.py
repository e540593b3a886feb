"""A Unix-socket relay in front of PostgreSQL that can fail the way networks do."""

import asyncio
import contextlib
from pathlib import Path

SOCKET = ".s.PGSQL.5432"


class FaultProxy:
    """Listens in `folder` and passes everything on to the server whose socket lives in `server_folder`."""

    def __init__(self, *, folder: Path, server_folder: Path) -> None:
        self._folder = folder
        self._server_socket = str(server_folder / SOCKET)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._replies_lost = False
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._listener = await asyncio.start_unix_server(self._accept, self._folder / SOCKET)

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

    def heal(self) -> None:
        """Works again; connections that lost replies are of no use any more and break."""
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
                await self._flowing.wait()
                if answers and self._replies_lost:
                    continue
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            writer.transport.abort()
