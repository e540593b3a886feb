"""Any split of an answer is the same answer; any bytes are an answer or an error of ours, and nobody waits for ever."""

import asyncio
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.connection import Connection, Origin
from proxy.wire.response import BrokenOff, NotAnswered, Unreadable
from tests.proxy.wire.test_answers import SAID

OURS = (BrokenOff, NotAnswered, Unreadable)
TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"x-{name}")
VALUES = st.text("abc XYZ:;,=/\"'\t\xe9", max_size=30).map(str.strip)
HEADERS = st.lists(st.tuples(TOKENS, VALUES), max_size=5)
BODIES = st.lists(st.binary(max_size=60), max_size=6)
STATUSES = st.integers(min_value=200, max_value=599).filter(lambda status: status not in (204, 304))


class Alone:
    """Owns one connection, and keeps nothing."""

    kept = 0

    def hold(self, connection: Connection) -> None: ...

    def keep(self, connection: Connection) -> None:
        self.kept += 1
        connection.abort()

    def forget(self, connection: Connection) -> None: ...


Told = tuple[str | int, bytes, bool]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def told(runner: asyncio.Runner, *pieces: bytes) -> Told:
    """Status or error, body, and whether the connection may stay; of bytes that come in these pieces, and then end."""

    async def ask() -> Told:
        loop, owner = asyncio.get_running_loop(), Alone()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            _transport, connection = await loop.create_connection(
                lambda: Connection(owner, Origin("http", "api.test", 80)), sock=ours
            )
            asking = asyncio.create_task(connection.ask(b"POST / HTTP/1.1\r\n\r\n", b"", by=loop.time() + 90))
            await asyncio.sleep(0)
            for piece in pieces:
                if piece and connection._answered is not None:
                    connection.data_received(piece)
            if connection._answered is not None:
                connection.eof_received()
            body = b""
            try:
                response = await asking
                while data := await response.readany():
                    body += data
            except OURS as error:
                said: str | int = type(error).__name__
            else:
                said = response.status
            connection._transport.abort()
            await asyncio.sleep(0)
            return said, body, bool(owner.kept)

    async def in_time() -> Told:
        async with asyncio.timeout(60):
            return await ask()

    return runner.run(in_time())


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, Told]:
    """An answer in one of the framings, with what has to be told of it."""
    status, parts = draw(STATUSES), draw(BODIES)
    body, headers = b"".join(parts), draw(HEADERS)
    framing = draw(st.sampled_from(["counted", "chunked", "until close"]))
    version, stays = draw(st.sampled_from([("1.1", True), ("1.0", False)]))
    if framing == "counted":
        headers.append((draw(st.sampled_from(["Content-Length", "content-length"])), str(len(body))))
        sent = body
    elif framing == "chunked":
        version, stays = "1.1", True
        headers.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b' ;a="b"']))
        sent = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
        trailers = b"".join(f"{name}: {value}\r\n".encode() for name, value in draw(HEADERS))
        sent += b"0\r\n" + trailers + b"\r\n"
    else:
        stays, sent = False, body
    if draw(st.booleans()):
        headers.append(("Connection", "close"))
        stays = False
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * draw(st.integers(0, 2))
    headers = draw(st.permutations(headers))
    lines = [f"HTTP/{version} {status} {draw(st.sampled_from(['OK', '', 'Not so good']))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return interim + head + sent, (status, body, stays)


def split(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(at) if end > start]


@given(answer=answers(), places=st.lists(st.integers(min_value=0), max_size=8))
def test_an_answer_is_the_same_however_it_is_split(
    runner: asyncio.Runner, answer: tuple[bytes, Told], places: list[int]
) -> None:
    sent, expected = answer
    assert told(runner, sent) == expected
    assert told(runner, *split(sent, places)) == expected
    assert told(runner, *(sent[at : at + 1] for at in range(len(sent)))) == expected


@pytest.mark.parametrize("name", SAID)
def test_what_upstreams_send_is_the_same_in_two_pieces_wherever_it_is_cut(
    runner: asyncio.Runner, name: str
) -> None:
    sent, _end = SAID[name]
    status, body, _kept = told(runner, sent)
    for place in range(1, len(sent)):
        assert told(runner, sent[:place], sent[place:])[:2] == (status, body), place


@given(
    answer=answers(), place=st.integers(min_value=0), places=st.lists(st.integers(min_value=0), max_size=8)
)
def test_an_answer_that_is_cut_is_not_whole(
    runner: asyncio.Runner, answer: tuple[bytes, Told], place: int, places: list[int]
) -> None:
    sent, (status, body, stays) = answer
    cut = sent[: place % len(sent)]
    said, came, may_stay = told(runner, *split(cut, places))
    assert (said, came, may_stay) == told(runner, cut)
    assert not may_stay
    assert body.startswith(came)
    if stays:
        assert said in {"NotAnswered", "BrokenOff"}
    else:
        assert said in {"NotAnswered", "BrokenOff", status}


BITS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 X\r\n", b"\r\n",
        b"\n", b"\r", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"5\r\nhello\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Content-Encoding: gzip\r\n", b"0\r\n\r\n", b"ffffffffffffffff",
        b"hello", b": \r\n", b" folded\r\n", b"X: \x00\r\n", b"\xff", b"HTTP/2 200\r\n", b"\x1f\x8b\x08\x00",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(
    data=st.lists(BITS | st.binary(max_size=20), max_size=12).map(b"".join),
    places=st.lists(st.integers(min_value=0), max_size=6),
)
def test_any_bytes_are_an_answer_or_an_error_of_ours(
    runner: asyncio.Runner, data: bytes, places: list[int]
) -> None:
    assert told(runner, *split(data, places))[0] == told(runner, data)[0]
