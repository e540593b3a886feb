"""Both event loops: the web process runs on uvloop, tests and commands on asyncio's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest
import pytest_asyncio
import uvloop

from proxy.wire.client import Client


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def to_loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    made = Client(resolve=to_loopback, connect_seconds=5)
    yield made
    await made.close()
