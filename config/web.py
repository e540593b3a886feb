"""Runs the web process: uvicorn, with connections of our own (config.protocol) and an end that loses no request.

SIGTERM or SIGINT: /readyz says 503 and every answer asks its client to connect anew; after SHUTDOWN_DELAY_SECONDS no
connection is taken any more; what then runs has SHUTDOWN_GRACE_SECONDS to finish, and is told when it has not. A
second signal ends all waiting. The exit status is 0.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import cast

import uvicorn
from django.conf import settings

from config.asgi import application
from config.listening import Acceptor, bind
from config.logging import gather_lines
from config.protocol import KEEP_ALIVE_SECONDS, Protocol
from proxy import runtime
from proxy.api import health

TICK_SECONDS = 0.1
# A kept connection is not closed at once at a stop: a busy client brings its next request first.
LAST_REQUEST_SECONDS = 1.0


class Server(uvicorn.Server):
    """Uvicorn's server, which starts and stops in our way.

    With `ready_fd` it listens only once it is ready to serve, and then writes a byte there.
    """

    def __init__(self, config: uvicorn.Config, *, ready_fd: int | None) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd
        self._hurried = False
        self._acceptors: list[Acceptor] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops for good. The signal is not raised again: an orderly end is no failure."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        gather_lines()
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._hurried = self.should_exit
        self.should_exit = True
        health.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        while self._ready_fd is not None and not health.is_ready(await health.check(runtime.current())):
            if self.should_exit:
                self._hurried = True  # no client was served, so there is none to wait for
                return
            await asyncio.sleep(TICK_SECONDS)
        self._acceptors = [
            Acceptor(listening, self._connection, backlog=self.config.backlog) for listening in sockets or ()
        ]
        if self._ready_fd is not None:
            os.write(self._ready_fd, b"\n")
            os.close(self._ready_fd)

    def _connection(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        self.config.encoded_headers.append((b"connection", b"close"))
        await self.on_tick(0)
        for connection in self._connections():
            connection.begin_to_leave()
        await self._until(lambda: False, settings.SHUTDOWN_DELAY_SECONDS)

        for acceptor in self._acceptors:
            acceptor.close()
        for listening in sockets or ():
            listening.close()

        def finished() -> bool:
            if now() - began > LAST_REQUEST_SECONDS:
                for connection in self._connections():
                    connection.leave_if_idle(since=now() - LAST_REQUEST_SECONDS)
            is_beginning = any(acceptor.is_beginning for acceptor in self._acceptors)
            return not (is_beginning or self.server_state.connections or self.server_state.tasks)

        await self._until(finished, settings.SHUTDOWN_GRACE_SECONDS)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()

    async def _until(self, over: Callable[[], bool], seconds: float) -> None:
        """Waits for it, but no longer than so many seconds, and not in a hurry; the Date header goes on meanwhile."""
        now = asyncio.get_running_loop().time
        deadline, ticks = now() + seconds, 0
        while not over() and not self._hurried and now() < deadline:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            await self.on_tick(ticks)

    def _connections(self) -> list[Protocol]:
        return cast("list[Protocol]", list(self.server_state.connections))


def use_all_descriptors() -> None:
    """A completion takes two, its client's and its upstream's; the usual soft limit of 1,024 is for select()."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m config.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=settings.PORT)
    parser.add_argument("--fd", type=int, help="a bound socket to listen on, instead of host and port")
    parser.add_argument("--ready-fd", type=int, help="listen only when ready, and write a byte there then")
    options = parser.parse_args()
    use_all_descriptors()
    listening = bind(options.host, options.port) if options.fd is None else socket.socket(fileno=options.fd)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=Protocol,
        ws="none",
        proxy_headers=False,  # config.forwarded reads them
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = Server(config, ready_fd=options.ready_fd)
    server.run([listening])
    if not server.started:
        raise SystemExit(3)


if __name__ == "__main__":
    main()
