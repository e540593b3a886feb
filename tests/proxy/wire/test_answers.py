"""What is an answer, whole or broken, however it is framed, cut and ended; and when its connection is used again."""

import asyncio
import zlib

import aiohttp
import pytest

from proxy.wire.client import Client, Target, target
from proxy.wire.response import BrokenOff, NotAnswered, Unreadable
from tests.proxy.wire.upstream import CLOSE, HALF_CLOSE, RESET, STAY, Peer, one_by_one, saying, upstream

JSON = b'{"id":"chatcmpl-1"}'
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n" + JSON
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"id":\r\nd\r\n"chatcmpl-1"}\r\n0\r\n\r\n'
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n" + JSON


def there(port: int) -> Target:
    return target(f"http://127.0.0.1:{port}/v1/chat/completions", {"Authorization": "Bearer key"})


def soon() -> float:
    return asyncio.get_running_loop().time() + 10


Told = tuple[int, bytes] | tuple[str, int | None, bytes]


async def told(client: Client, where: Target) -> Told:
    """Status and body; or the error, the status if there was one, and what came before."""
    try:
        response = await client.post(where, b"{}", by=soon())
    except OSError as error:
        return type(error).__name__, None, b""
    body = b""
    try:
        while data := await response.readany():
            body += data
    except OSError as error:
        return type(error).__name__, response.status, body
    return response.status, body


async def told_by_aiohttp(url: str) -> tuple[int | None, bytes, bool]:
    """Status, body, and whether it was whole."""
    status, body = None, b""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.post(url, data=b"{}", allow_redirects=False) as response,
        ):
            status = response.status
            while data := await response.content.readany():
                body += data
    except (aiohttp.ClientError, OSError):
        return status, body, False
    return status, body, True


# What upstreams send, and how they end it: each has to be told as aiohttp tells it.
SAID: dict[str, tuple[bytes, str]] = {
    "counted": (COUNTED, STAY),
    "chunked": (CHUNKED, STAY),
    "until the end of the connection": (UNTIL_CLOSE, CLOSE),
    "until the end of one direction": (UNTIL_CLOSE, HALF_CLOSE),
    "counted, then half-closed": (COUNTED, HALF_CLOSE),
    "chunked with an extension": (CHUNKED.replace(b"6\r\n{", b"6;name=value\r\n{"), STAY),
    "chunked with a space behind the size": (CHUNKED.replace(b"6\r\n{", b"6 \r\n{"), STAY),
    "chunked with trailers": (CHUNKED[:-2] + b"X-Sum: 1\r\nX-More:\r\n\r\n", STAY),
    "chunked in two codings": (CHUNKED.replace(b" chunked", b" gzip, chunked"), STAY),
    "no chunks after all": (CHUNKED.replace(b" chunked", b" identity"), CLOSE),
    "both lengths": (CHUNKED.replace(b"Transfer", b"Content-Length: 19\r\nTransfer"), CLOSE),
    "two lengths": (COUNTED.replace(b"Content-Length", b"Content-Length: 20\r\nContent-Length"), CLOSE),
    "a negative length": (COUNTED.replace(b"19", b"-1"), CLOSE),
    "a length that is no number": (COUNTED.replace(b"19", b"many"), CLOSE),
    "an endless length": (COUNTED.replace(b"19", b"9" * 30), CLOSE),
    "an empty body": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", STAY),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", STAY),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 19\r\n\r\n", STAY),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED, STAY),
    "early hints, twice": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + CHUNKED, STAY),
    "HTTP/1.0": (UNTIL_CLOSE.replace(b"1.1", b"1.0"), CLOSE),
    "HTTP/1.0, counted": (COUNTED.replace(b"1.1", b"1.0"), CLOSE),
    "HTTP/1.0, kept": (COUNTED.replace(b"1.1 200 OK", b"1.0 200 OK\r\nConnection: keep-alive"), STAY),
    "the last one": (COUNTED.replace(b"OK", b"OK\r\nConnection: close"), CLOSE),
    "no reason": (COUNTED.replace(b" OK", b""), STAY),
    "a strange reason": (COUNTED.replace(b"OK", b"\xd8\xae\xd9\x88\xd8\xa8"), STAY),
    "bare line feeds": (COUNTED.replace(b"\r\n", b"\n"), STAY),
    "an empty line first": (b"\r\n" + COUNTED, STAY),
    "a folded header": (COUNTED.replace(b"OK", b"OK\r\nX-Long: a\r\n b"), STAY),
    "an empty header": (COUNTED.replace(b"OK", b"OK\r\nX-Empty:"), STAY),
    "a redirect": (COUNTED.replace(b"200 OK", b"302 Found\r\nLocation: http://127.0.0.1:1/"), STAY),
    "an error": (COUNTED.replace(b"200 OK", b"500 Oops"), STAY),
    "a status of its own": (COUNTED.replace(b"200 OK", b"799 Own"), STAY),
    "cut in the head": (COUNTED[:40], CLOSE),
    "cut before a byte": (b"", CLOSE),
    "half-closed before a byte": (b"", HALF_CLOSE),
    "reset before a byte": (b"", RESET),
    "cut in a counted body": (COUNTED[:-4], CLOSE),
    "half-closed in a counted body": (COUNTED[:-4], HALF_CLOSE),
    "cut in a chunk": (CHUNKED[:-12], CLOSE),
    "cut before the last chunk": (CHUNKED[:-5], CLOSE),
    "cut in the trailers": (CHUNKED[:-2] + b"X-Sum: 1\r\n", CLOSE),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE),
    "HTML alone": (b"<html>busy</html>", CLOSE),
    "another answer behind it": (COUNTED + COUNTED, STAY),
    "an offer of HTTP/2": (COUNTED.replace(b"OK", b"OK\r\nUpgrade: h2\r\nConnection: Upgrade"), STAY),
    "a compressed body": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
        + zlib.compress(JSON, wbits=zlib.MAX_WBITS | 16),
        CLOSE,
    ),
    "a deflated body": (b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(JSON), CLOSE),
    "a body that is not compressed": (UNTIL_CLOSE.replace(b"OK", b"OK\r\nContent-Encoding: gzip"), CLOSE),
}  # fmt: skip


@pytest.mark.parametrize("split", [False, True], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize("name", SAID)
async def test_an_answer_is_told_as_aiohttp_tells_it(client: Client, name: str, split: bool) -> None:
    said, end = SAID[name]
    async with upstream(saying(*(one_by_one(said) if split else [said]), end=end)) as served:
        ours = await told(client, there(served.port))
        status, body, is_whole = await told_by_aiohttp(served.url)
    assert ours[-2:] == (status, body)
    assert isinstance(ours[0], int) is is_whole


@pytest.mark.parametrize(
    ("said", "end", "expected"),
    [
        (b"", CLOSE, ("NotAnswered", None, b"")),
        (b"", RESET, ("NotAnswered", None, b"")),
        (COUNTED[:40], CLOSE, ("BrokenOff", None, b"")),
        (COUNTED[:-4], CLOSE, ("BrokenOff", 200, JSON[:-4])),
        (COUNTED[:-4], RESET, ("BrokenOff", 200, JSON[:-4])),
        (b"SSH-2.0\r\n", STAY, ("Unreadable", None, b"")),
        (CHUNKED.replace(b"\r\nd\r\n", b"\r\nx\r\n"), STAY, ("Unreadable", 200, b'{"id":')),
        (CHUNKED.replace(b"\r\nd\r\n", b"\r\nc\r\n"), STAY, ("Unreadable", 200, JSON[:-1])),
    ],
)
async def test_an_error_says_how_far_the_answer_came(
    client: Client, said: bytes, end: str, expected: Told
) -> None:
    async with upstream(saying(*one_by_one(said), end=end)) as served:
        assert await told(client, there(served.port)) == expected


@pytest.mark.parametrize(
    ("said", "times"),
    [
        (COUNTED, 1),
        (CHUNKED, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED, 1),
        (COUNTED.replace(b"1.1 200 OK", b"1.0 200 OK\r\nConnection: keep-alive"), 1),
        (COUNTED.replace(b"200 OK", b"500 Oops"), 1),
        (CHUNKED[:-2] + b"X-Sum: 1\r\n\r\n", 1),
        (COUNTED.replace(b"1.1", b"1.0"), 3),
        (COUNTED.replace(b"OK", b"OK\r\nConnection: close"), 3),
        (COUNTED + b"rubbish", 3),
        (COUNTED + COUNTED, 3),
        (COUNTED.replace(b"OK", b"OK\r\nConnection: close") + b"x", 3),
    ],
)
async def test_a_connection_is_used_again_only_after_a_whole_answer_that_lets_it(
    client: Client, said: bytes, times: int
) -> None:
    async with upstream(saying(said)) as served:
        answers = {await told(client, there(served.port)) for _ in range(3)}
        assert served.connections == times
    assert len(answers) == 1
    assert isinstance(answers.pop()[0], int)


async def test_what_comes_unasked_over_a_kept_connection_answers_nothing(client: Client) -> None:
    """As a server does that tells an idle client of its time-out, before it closes."""
    spoke = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(COUNTED)
        if not spoke.is_set():
            peer.writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            spoke.set()
        await peer.reader.read()

    async with upstream(serve) as served:
        assert await told(client, there(served.port)) == (200, JSON)
        await spoke.wait()
        assert await told(client, there(served.port)) == (200, JSON)
        assert served.connections == 2


@pytest.mark.parametrize("end", [CLOSE, HALF_CLOSE, RESET])
async def test_a_kept_connection_that_died_is_noticed_before_it_is_used(client: Client, end: str) -> None:
    over = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(COUNTED)
        await peer.end(end)
        over.set()
        await peer.reader.read()

    async with upstream(serve) as served:
        for number in range(1, 4):
            over.clear()
            assert await told(client, there(served.port)) == (200, JSON)
            assert served.connections == len(served.requests) == number
            await over.wait()


async def test_a_kept_connection_that_dies_under_a_request_is_told_and_the_request_is_not_sent_again(
    client: Client,
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(COUNTED)
        await peer.request()
        peer.writer.close()

    async with upstream(serve) as served:
        assert await told(client, there(served.port)) == (200, JSON)
        with pytest.raises(NotAnswered) as caught:
            await client.post(there(served.port), b"{}", by=soon())
        assert caught.value.was_kept
        assert (served.connections, len(served.requests)) == (1, 2)


HEADS_TOO_LONG = {
    "one header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X-More: a\r\n" * 7_000,
    "a whole head": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "a reason": b"HTTP/1.1 200 " + b"a" * 70_000,
    "empty lines": b"\r\n" * 40_000,
    "interim answers": b"HTTP/1.1 102 Processing\r\n\r\n" * 3_000,
}
BODIES_WITHOUT_BYTES = {
    "a chunk's extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=" + b"a" * 700_000,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-More: a\r\n" * 70_000,
}


@pytest.mark.parametrize("size", [10_000, 1_000_000], ids=["small pieces", "one piece"])
@pytest.mark.parametrize("name", [*HEADS_TOO_LONG, *BODIES_WITHOUT_BYTES])
async def test_what_is_no_body_and_has_no_end_is_not_read_for_ever(
    client: Client, name: str, size: int
) -> None:
    said = (HEADS_TOO_LONG | BODIES_WITHOUT_BYTES)[name]
    async with upstream(saying(*(said[at : at + size] for at in range(0, len(said), size)))) as served:
        assert await told(client, there(served.port)) == (
            "Unreadable",
            200 if name in BODIES_WITHOUT_BYTES else None,
            b"",
        )


async def test_a_head_of_64_kb_is_read(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\nX-Long: %b\r\n\r\n"
    head %= b"a" * (64 * 1024 - len(head) + 2)
    async with upstream(saying(head + JSON)) as served:
        assert await told(client, there(served.port)) == (200, JSON)
    async with upstream(saying(head.replace(b"aa", b"aaa", 1) + JSON)) as served:
        assert (await told(client, there(served.port)))[0] == "Unreadable"


async def test_headers_are_found_by_their_lower_case_names(client: Client) -> None:
    said = COUNTED.replace(b"OK", b"OK\r\nRetry-After: 5\r\nX-Twice: a\r\nx-twice: b")
    async with upstream(saying(*one_by_one(said))) as served:
        response = await client.post(there(served.port), b"{}", by=soon())
    assert response.headers[b"retry-after"] == b"5"
    assert response.headers[b"x-twice"] == b"a, b"


async def test_a_body_that_inflates_without_end_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.wire.connection.INFLATED_MAX_BYTES", 1000)
    body = zlib.compress(b"a" * 100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with upstream(saying(head + body)) as served:
        assert await told(client, there(served.port)) == ("Unreadable", 200, b"")


async def test_an_answer_that_comes_before_the_request_was_read_ends_the_connection(client: Client) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(COUNTED.replace(b"200 OK", b"413 Too Large"))
        await peer.writer.drain()
        await over.wait()

    over = asyncio.Event()
    async with upstream(serve) as served:
        response = await client.post(there(served.port), b"a" * 20_000_000, by=soon())
        assert (response.status, await response.readany()) == (413, JSON)
        assert not client._idle.get(there(served.port).origin)
        over.set()


ERRORS = (NotAnswered, BrokenOff, Unreadable)


def test_errors_are_those_of_the_system_to_whoever_does_not_know_them() -> None:
    assert all(issubclass(error, OSError) and not issubclass(error, TimeoutError) for error in ERRORS)
