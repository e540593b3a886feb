"""What the door makes of bytes: each request is seen once, whole and in order, however it is cut; and nothing else is.

The door's protocol is fed directly; behind it stand an API and pages that say what they have seen.
"""

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from proxy.wire.exchange import ClientLeft, Exchange

Seen = tuple[str, str, str]  # method, path and body of a request that was whole


def seen(scope: dict[str, Any], body: bytes) -> bytes:
    return json.dumps([scope["method"], scope["raw_path"].decode(), body.hex()]).encode()


async def api(exchange: Exchange) -> None:
    body = b""
    try:
        while part := await exchange.read():
            body += part
    except ClientLeft:
        return
    await exchange.respond(200, {"x-seen": "yes"}, seen(exchange.scope, body))


async def pages(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    said = seen(scope, body)
    headers = [(b"x-seen", b"yes"), (b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    from config import asgi  # which looks for the folder of static files

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as made:
        patch.setattr(asgi, "api", api)
        yield made


@dataclass(frozen=True)
class Told:
    """What was seen, by the answers, and the code of the refusal behind them, if there is one."""

    seen: tuple[Seen, ...]
    refused: str | None
    is_open: bool


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def told(runner: asyncio.Runner, *pieces: bytes, turn: bool = True) -> Told:
    """The loop turns between two pieces, so that what is whole is answered, or all come before anything runs."""

    from config.protocol import Protocol

    async def ask() -> Told:
        config = uvicorn.Config(pages, ws="none", lifespan="off", access_log=False, log_config=None)
        state, loop = ServerState(), asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        with theirs:
            transport, protocol = await loop.create_connection(lambda: Protocol(config, state, {}), sock=ours)
            for piece in pieces:
                if piece and not transport.is_closing():
                    protocol.data_received(piece)
                if turn:
                    await turns(2)
            await turns(60)
            is_open = not (transport.is_closing() or protocol._is_deaf)
            transport.abort()
            await turns(6)
            assert not state.tasks
            assert not state.connections
            said = b""
            while part := received(theirs):
                said += part
        return read(said, is_open=is_open)

    async def in_time() -> Told:
        async with asyncio.timeout(60):
            return await ask()

    return runner.run(in_time())


def received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except (BlockingIOError, ConnectionResetError):
        return b""


def read(said: bytes, *, is_open: bool) -> Told:
    """Answers, one behind the other, with nothing before, between or after them."""
    found: list[Seen] = []
    refused = None
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        if status == "HTTP/1.1 100 Continue":
            continue
        assert refused is None, "an answer follows a refusal"
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers["content-length"])
        body, said = json.loads(said[:length]), said[length:]
        if status == "HTTP/1.1 200 OK":
            assert headers["x-seen"] == "yes"
            found.append(tuple(body))
        else:
            assert len(headers["x-request-id"]) == 32
            assert headers["connection"] == "close"
            refused = body["error"]["code"]
    return Told(tuple(found), refused, is_open)


METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
PATHS = st.sampled_from(
    ["/v1/models", "/v1/chat/completions", "/chat/completions", "/wallet/", "/a%20b", "/"]
)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"x-{name}")
VALUES = st.text("abc XYZ:;,=/\"'\t", max_size=30).map(str.strip)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
BODIES = st.lists(st.binary(max_size=40), max_size=5)
WISHES = [
    [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA")],
    [("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade"), ("Sec-WebSocket-Version", "13")],
]  # fmt: skip


@st.composite
def requests(draw: st.DrawFn, *, last: bool = False) -> tuple[bytes, Seen]:
    """A request in one of the framings; only the last one of a connection may end it or wish for another protocol."""
    method, path, parts = draw(METHODS), draw(PATHS), draw(BODIES)
    headers, body = draw(HEADERS), b"".join(parts)
    framing = draw(st.sampled_from(["none", "counted", "chunked"]))
    if framing == "none":
        body = sent = b""
    elif framing == "counted":
        headers.append((draw(st.sampled_from(["Content-Length", "content-length"])), str(len(body))))
        sent = body
    else:
        headers.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
        extension = draw(st.sampled_from([b"", b";a", b";a=b"]))
        sent = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
        trailers = b"".join(f"{name}: {value}\r\n".encode() for name, value in draw(HEADERS))
        sent += b"0\r\n" + trailers + b"\r\n"
    if framing != "none" and draw(st.booleans()):
        headers.append(("Expect", "100-continue"))
    if last:
        headers += draw(st.sampled_from([[], [("Connection", "close")], *WISHES]))
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in draw(st.permutations(headers))),
    ]
    head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return head + sent, (method, path, body.hex())


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, tuple[Seen, ...]]:
    made = [*draw(st.lists(requests(), max_size=2)), draw(requests(last=True))]
    return b"".join(sent for sent, _ in made), tuple(expected for _, expected in made)


PLACES = st.lists(st.integers(min_value=0), max_size=8)


def split(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(at) if end > start]


@settings(max_examples=40)
@given(said=conversations(), places=PLACES, turn=st.booleans())
def test_requests_are_seen_once_and_in_order_however_they_are_cut(
    runner: asyncio.Runner, said: tuple[bytes, tuple[Seen, ...]], places: list[int], turn: bool
) -> None:
    sent, expected = said
    for pieces in ([sent], split(sent, places), [sent[at : at + 1] for at in range(len(sent))]):
        answered = told(runner, *pieces, turn=turn)
        assert (answered.seen, answered.refused) == (expected, None)


@settings(max_examples=60)
@given(said=conversations(), place=st.integers(min_value=0), places=PLACES)
def test_of_what_breaks_off_only_whole_requests_are_seen(
    runner: asyncio.Runner, said: tuple[bytes, tuple[Seen, ...]], place: int, places: list[int]
) -> None:
    sent, expected = said
    cut = sent[: place % len(sent)]
    answered = told(runner, *split(cut, places))
    assert answered == told(runner, cut)
    assert answered.seen == expected[: len(answered.seen)]
    assert len(answered.seen) < len(expected)
    assert answered.refused is None


BITS = st.sampled_from(
    [
        b"GET /v1/models HTTP/1.1\r\n", b"POST /v1/chat/completions HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n",
        b"POST /wallet/ HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://x/v1/models HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET /\xd9\x81 HTTP/1.1\r\n",
        b"get / http/1.1\r\n", b"\r\n", b"\n", b"\r", b"Host: x\r\n", b"Connection: close\r\n",
        b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: chunked, gzip\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n",
        b"ffffffffffffffff", b"hello", b": \r\n", b" folded\r\n", b"X: \x00\r\n", b"\xff",
    ]
)  # fmt: skip


@settings(max_examples=200)
@given(data=st.lists(BITS | st.binary(max_size=20), max_size=12).map(b"".join), places=PLACES)
def test_any_bytes_are_requests_or_refused_and_the_same_however_they_are_cut(
    runner: asyncio.Runner, data: bytes, places: list[int]
) -> None:
    whole, cut = told(runner, data), told(runner, *split(data, places))
    assert cut.seen == whole.seen
    assert {cut.refused, whole.refused} <= {None, "bad_request"}
    assert cut.is_open == whole.is_open


@settings(max_examples=20)
@given(
    places=PLACES,
    kind=st.sampled_from([b"GET /", b"GET / HTTP/1.1\r\nX-Long: ", b"POST / HTTP/1.1\r\nA: b\r\n"]),
)
def test_a_head_without_end_is_refused_however_it_is_cut(
    runner: asyncio.Runner, kind: bytes, places: list[int]
) -> None:
    from config.protocol import HEAD_MAX_BYTES

    sent = kind + (b"X-More: a\r\n" if kind.endswith(b"\n") else b"a") * HEAD_MAX_BYTES
    assert told(runner, *split(sent[: 2 * HEAD_MAX_BYTES], places)) == Told((), "headers_too_large", False)
