"""A reader that takes nothing stops its upstream, and what waits for it meanwhile stays out of the process's memory."""

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_upstream import STREAM, FakeUpstream, chunk
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import CREDIT, Caller
from tests.proxy.api.test_slow_streams import slow_reader

EVENT = chunk({"content": "x" * 12_000})
EVENTS = 4_500  # 50 MB and more
STUCK_SECONDS = 1.0  # that nothing could be written for so long says that every buffer on the way is full
GROWTH_MAX = 2_000_000


class Offer:
    """An upstream's script: as many events as are taken. `stuck` counts how often none was taken for a while."""

    def __init__(self, events: int) -> None:
        self.sent = self.stuck = 0
        self._events = events

    async def __call__(self, _request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(self._events):
            await self._send(writer, EVENT)
        for event in STREAM[3:]:
            await self._send(writer, event)
        writer.write(b"0\r\n\r\n")

    async def _send(self, writer: asyncio.StreamWriter, event: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        while True:
            try:
                async with asyncio.timeout(STUCK_SECONDS):
                    await writer.drain()
            except TimeoutError:
                self.stuck += 1
            else:
                self.sent += len(event)
                return


def resident(web: WebProcess) -> int:
    status = Path(f"/proc/{web.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def wait_until_stuck(offer: Offer) -> None:
    before = offer.stuck
    eventually(lambda: offer.stuck > before, seconds=30)


def take(raw: socket.socket, count: int) -> int:
    taken = 0
    while taken < count and (part := raw.recv(65536)):
        taken += len(part)
    return taken


@pytest.fixture
def warm(make_caller: Callable[..., Caller], upstream: FakeUpstream) -> Caller:
    """Somebody whose web process has had a reader like this one before, and the buffers that it takes."""
    caller = make_caller()
    upstream.script = offer = Offer(EVENTS)
    with slow_reader(caller):
        wait_until_stuck(offer)
    eventually(caller.wallet.entries.filter(kind="completion").exists)
    upstream.reset()
    return make_caller()


def test_a_reader_that_takes_nothing_stops_its_upstream_and_costs_no_memory(
    warm: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = offer = Offer(EVENTS)
    before = resident(warm.web)
    with slow_reader(warm) as raw:
        wait_until_stuck(offer)
        full, offered = resident(warm.web), offer.sent
        assert full - before <= GROWTH_MAX
        wait_until_stuck(offer)
        assert offer.sent == offered
        assert resident(warm.web) - full <= GROWTH_MAX

        taken = take(raw, 30_000_000)  # it goes on where it stood, and stops again
        wait_until_stuck(offer)
        assert offer.sent > offered
        assert resident(warm.web) - full <= GROWTH_MAX

        end = b""
        while not end.endswith(b"0\r\n\r\n"):
            part = raw.recv(65536)
            assert part, "cut off"
            taken += len(part)
            end = (end + part)[-200:]
    assert taken > EVENTS * len(EVENT) > 50_000_000
    assert resident(warm.web) - full <= GROWTH_MAX
    usage = warm.usage()
    assert usage.outcome == "completed"
    assert warm.balance() == (CREDIT - usage.cost_micro, 0)
