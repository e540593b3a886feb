"""How connections are taken: all that wait, however busy the event loop is, and none while there is no room."""

import asyncio
import resource
import socket
import time
from typing import Any, ClassVar

import pytest
import uvloop

from config import listening
from config.listening import Acceptor, bind

TURN_SECONDS = 0.01


class Counted(asyncio.Protocol):
    begun = 0
    first: ClassVar[asyncio.Event]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).begun += 1
        self.first.set()


@pytest.fixture(autouse=True)
def nobody_yet() -> None:
    Counted.begun, Counted.first = 0, asyncio.Event()


def call(address: Any, count: int) -> list[socket.socket]:
    """So many clients that have asked for a connection, whether anybody takes it or not."""
    clients = [socket.socket() for _ in range(count)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(address)
    return clients


async def turns(count: int) -> None:
    """Turns of the event loop that are long, as with a thousand streams."""
    for _ in range(count):
        time.sleep(TURN_SECONDS)  # noqa: ASYNC251 - it is what keeps the loop busy
        await asyncio.sleep(0)


def test_a_busy_loop_takes_all_connections_that_wait() -> None:
    async def work() -> None:
        bound = bind("127.0.0.1", 0)
        acceptor = Acceptor(bound, Counted, backlog=2048)
        clients = call(bound.getsockname(), 300)
        await turns(20)  # one a turn would be 20
        assert Counted.begun == 300
        acceptor.close()
        for one in [*clients, bound]:
            one.close()

    uvloop.run(work())


def test_without_a_descriptor_left_a_connection_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PAUSE_SECONDS", 0.02)

    async def work() -> None:
        bound = bind("127.0.0.1", 0)
        acceptor = Acceptor(bound, Counted, backlog=16)
        [client] = call(bound.getsockname(), 1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (bound.fileno(), hard))
        try:
            await turns(5)
            assert Counted.begun == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.wait_for(Counted.first.wait(), 5)
        acceptor.close()
        client.close()
        bound.close()

    uvloop.run(work())
