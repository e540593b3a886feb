"""A body that is pushed or read: in order, to its end, and no faster than it is taken."""

import asyncio

import pytest

from proxy.wire.client import Client
from proxy.wire.response import UNREAD_MAX_BYTES, BrokenOff, Response
from tests.proxy.wire.test_answers import CHUNKED, COUNTED, JSON, there
from tests.proxy.wire.upstream import CLOSE, STAY, Peer, one_by_one, saying, turns, until, upstream


class Taken:
    """Takes everything; `ends` are the errors that it was ended with, of which there may be one."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.pieces: list[bytes] = []
        self.ends: list[OSError | None] = []

    def feed(self, data: bytes) -> None:
        assert data
        assert not self.ends
        self.pieces.append(data)

    def end(self, error: OSError | None) -> None:
        self.ends.append(error)


def by() -> float:
    return asyncio.get_running_loop().time() + 20


@pytest.mark.parametrize("said", [COUNTED, CHUNKED], ids=["counted", "chunked"])
@pytest.mark.parametrize("whole_before", [False, True], ids=["as it comes", "after it came"])
async def test_a_body_is_pushed_in_order_and_ended_once(
    client: Client, said: bytes, whole_before: bool
) -> None:
    async with upstream(saying(*one_by_one(said))) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        if whole_before:
            await until(lambda: response.has_ended)
        taken = Taken(response)
        response.consume(taken)
        await until(lambda: taken.ends)
        assert b"".join(taken.pieces) == JSON
        assert taken.ends == [None]
        assert len(taken.pieces) == 1 if whole_before else len(taken.pieces) > 1
        assert client._idle[there(served.port).origin]


async def test_chunks_that_arrive_together_are_pushed_together(client: Client) -> None:
    async with upstream(saying(CHUNKED[:-5], CHUNKED[-5:])) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        taken = Taken(response)
        response.consume(taken)
        await until(lambda: taken.ends)
    assert taken.pieces == [JSON]


async def test_a_body_that_breaks_off_is_ended_with_what_happened(client: Client) -> None:
    async with upstream(saying(*one_by_one(COUNTED[:-4]), end=CLOSE)) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        taken = Taken(response)
        response.consume(taken)
        await until(lambda: taken.ends)
    assert b"".join(taken.pieces) == JSON[:-4]
    assert isinstance(taken.ends[0], BrokenOff)


async def test_whoever_closes_is_told_and_gets_nothing_more(client: Client) -> None:
    class Enough(Taken):
        def feed(self, data: bytes) -> None:
            super().feed(data)
            self.response.close()

    async with upstream(saying(*one_by_one(COUNTED))) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        taken = Enough(response)
        response.consume(taken)
        await until(lambda: not client._connections)
    assert len(taken.pieces) == 1
    assert [type(end) for end in taken.ends] == [ConnectionAbortedError]


async def test_closing_wakes_the_reader(client: Client) -> None:
    async with upstream(saying(COUNTED[:-4])) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        assert await response.readany()
        reading = asyncio.create_task(response.readany())
        await turns()
        response.close()
        with pytest.raises(ConnectionAbortedError):
            await reading
        with pytest.raises(ConnectionAbortedError):
            await response.readany()


async def test_closing_a_whole_answer_leaves_its_connection_and_what_was_not_read(client: Client) -> None:
    async with upstream(saying(COUNTED)) as served:
        first = await client.post(there(served.port), b"{}", by=by())
        await until(lambda: first.has_ended)
        second = await client.post(there(served.port), b"{}", by=by())
        first.close()
        assert (await first.readany(), await first.readany()) == (JSON, b"")
        assert await second.readany() == JSON
        assert served.connections == 1


async def test_a_consumer_that_fails_ends_its_connection_and_no_other(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Taken):
        def feed(self, data: bytes) -> None:
            raise RuntimeError("a fault of ours")

    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
    async with upstream(saying(*one_by_one(COUNTED))) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        taken = Failing(response)
        response.consume(taken)
        await until(lambda: taken.ends)
        assert isinstance(taken.ends[0], BrokenOff)
        assert not client._idle.get(there(served.port).origin)
    assert failed


def flood(megabytes: int) -> tuple[bytes, list[bytes]]:
    size = megabytes * 1024 * 1024
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    return head, [b"a" * 65536] * (size // 65536)


async def test_upstream_waits_for_a_reader_who_takes_nothing(client: Client) -> None:
    """Of a hundred megabytes no more is taken than fits into the sockets and what may lie here unread."""
    head, pieces = flood(100)
    sent = 0

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.writer.write(head)
        for piece in pieces:
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += len(piece)

    async with upstream(serve) as served:
        response = await client.post(there(served.port), b"{}", by=by())
        await until(lambda: response._arrived_bytes > UNREAD_MAX_BYTES)
        for _ in range(100):
            await turns()
        assert response._arrived_bytes < 2 * UNREAD_MAX_BYTES + 256 * 1024
        assert sent < 50 * 1024 * 1024
        taken = 0
        while data := await response.readany():
            taken += len(data)
        assert taken == 100 * 1024 * 1024
        assert client._idle[there(served.port).origin]


async def test_a_consumer_pauses_upstream_and_goes_on(client: Client) -> None:
    class Slow(Taken):
        def feed(self, data: bytes) -> None:
            super().feed(data)
            self.response.pause()

    head, pieces = flood(2)

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.writer.writelines([head, *pieces])

    async with upstream(serve) as served:
        for _ in range(2):
            response = await client.post(there(served.port), b"{}", by=by())
            taken = Slow(response)
            response.consume(taken)
            while not taken.ends:
                known = len(taken.pieces)
                for _ in range(10):
                    await turns()
                assert len(taken.pieces) - known <= 1
                response.resume()
                await turns()
            assert sum(map(len, taken.pieces)) == 2 * 1024 * 1024
        assert served.connections == 1


async def test_pausing_an_answer_that_is_over_pauses_nobody_else(client: Client) -> None:
    async with upstream(saying(COUNTED, end=STAY)) as served:
        first = await client.post(there(served.port), b"{}", by=by())
        await until(lambda: first.has_ended)
        first.pause()
        second = await client.post(there(served.port), b"{}", by=by())
        first.pause()
        assert await second.readany() == JSON
