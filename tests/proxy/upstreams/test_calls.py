"""Which addresses a call to an upstream may reach at the moment of the call, and how long its answer may be silent."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxy.catalogue.served import ServedRoute
from proxy.upstreams.calls import (
    AllFull,
    PublicResolver,
    UpstreamFailed,
    UpstreamRefusal,
    Upstreams,
    read_all,
)
from proxy.upstreams.protocols import CHAT
from tests.proxy.factories import served_route


@pytest_asyncio.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> PublicResolver:
    """Its name server answers with one public and one private address, as one that was tampered with may."""
    made = PublicResolver()

    async def resolve(host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        addresses = ["10.0.0.5"] if host == "inside.example" else ["93.184.216.34", "10.0.0.5"]
        return [{"hostname": host, "host": address, "port": port} for address in addresses]

    monkeypatch.setattr(made._resolver, "resolve", resolve)
    return made


async def test_private_addresses_of_a_name_are_not_called(resolver: PublicResolver) -> None:
    assert [found["host"] for found in await resolver.resolve("api.example", 443)] == ["93.184.216.34"]
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve("inside.example", 443)


async def test_a_host_that_the_operator_allowed_may_be_private(
    resolver: PublicResolver, settings: Any
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["inside.example"]
    assert [found["host"] for found in await resolver.resolve("inside.example", 443)] == ["10.0.0.5"]


@pytest.mark.parametrize("address", ["10.0.0.5", "169.254.169.254", "::1", "::ffff:10.0.0.5"])
async def test_an_address_in_a_url_has_to_be_public_as_well(
    upstreams: Upstreams, settings: Any, address: str
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["inside.example"]
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver().resolve(address, 443)
    host = f"[{address}]" if ":" in address else address
    route = served_route(1, base_url=f"https://{host}/v1")
    with pytest.raises(UpstreamFailed) as caught:
        await upstreams.send(route, CHAT, b"{}", stream=False, deadline=soon())
    assert caught.value.passing
    assert not upstreams._places[1]


@pytest.mark.parametrize(
    "fields", [{"api_key": "sk-\r\nX-Other: a"}, {"base_url": "https://"}, {"base_url": "https://a..b/v1"}]
)
async def test_a_route_that_cannot_be_called_has_failed(upstreams: Upstreams, fields: dict[str, str]) -> None:
    with pytest.raises(UpstreamFailed):
        await upstreams.send(served_route(1, **fields), CHAT, b"{}", stream=False, deadline=soon())
    assert not upstreams._places[1]


def soon() -> float:
    return asyncio.get_running_loop().time() + 20


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = b"5\r\nhello\r\n"


@pytest_asyncio.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    made = Upstreams()
    made.start()
    yield made
    await made.close()


@asynccontextmanager
async def slow_upstream(*sent: bytes) -> AsyncIterator[ServedRoute]:
    """Sends this and then nothing."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in sent:
            writer.write(part)
            await writer.drain()
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield served_route(1, base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        finally:
            over.set()


async def test_a_stream_has_to_begin_by_the_first_byte_time_out(upstreams: Upstreams, settings: Any) -> None:
    settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = 0.3
    deadline = asyncio.get_running_loop().time() + 600
    async with slow_upstream() as route, asyncio.timeout(10):
        with pytest.raises(UpstreamFailed, match="no answer in time"):
            await upstreams.send(route, CHAT, b"{}", stream=True, deadline=deadline)
    assert not upstreams._places[1]


@pytest.mark.parametrize(
    "sent", [[], [HEAD], [HEAD, PIECE]], ids=["before", "after the head", "after a piece"]
)
async def test_a_whole_answer_has_until_its_deadline_and_no_longer(
    upstreams: Upstreams, settings: Any, sent: list[bytes]
) -> None:
    settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = settings.UPSTREAM_IDLE_TIMEOUT_SECONDS = 0.1
    clock = asyncio.get_running_loop().time
    deadline = clock() + 0.5

    async def whole(route: ServedRoute) -> bytes:
        call = await upstreams.send(route, CHAT, b"{}", stream=False, deadline=deadline)
        try:
            return await read_all(call, deadline=deadline)
        finally:
            call.close()

    async with slow_upstream(*sent) as route, asyncio.timeout(10):
        with pytest.raises(UpstreamFailed) as caught:
            await whole(route)
    assert clock() >= deadline
    assert caught.value.begun is (PIECE in sent)
    assert not upstreams._places[1]


ERROR_HEAD = b"HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n"


async def test_the_words_of_an_error_that_never_ends_are_not_waited_for(
    upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.upstreams.calls.ERROR_SECONDS", 0.2)
    deadline = asyncio.get_running_loop().time() + 600
    async with slow_upstream(ERROR_HEAD, b'{"error":') as route, asyncio.timeout(10):
        with pytest.raises(UpstreamRefusal) as caught:
            await upstreams.send(route, CHAT, b"{}", stream=False, deadline=deadline)
    assert caught.value.status == 400


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path("/dev/null").open() as lowest_free:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free.fileno() + 1, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_process_that_can_open_no_connection_says_so_and_blames_nobody(upstreams: Upstreams) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    with no_more_descriptors(), pytest.raises(AllFull, match="EMFILE"):
        await upstreams.send(served_route(1), CHAT, b"{}", stream=False, deadline=deadline)
    assert not upstreams._places[1]
