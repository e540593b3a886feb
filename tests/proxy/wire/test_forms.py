"""A form that is sent piece by piece: whole where it is taken, and no longer than somebody takes it."""

import asyncio
import io
from typing import Any

import pytest

from proxy.wire.client import Client, target
from proxy.wire.form import BOUNDARY, FORM, FormBody, FormFile
from tests.fake_upstream import form_of
from tests.proxy.wire.test_answers import COUNTED
from tests.proxy.wire.upstream import Peer, upstream

LARGE = bytes(range(256)) * 12_000  # some 3 MB: more than a socket holds


def form(*files: bytes, name: str = "a.wav", media_type: str = "audio/wav", cut: int = 0) -> FormBody:
    return FormBody(
        [("model", "m"), ("prompt", "سلام\r\n--x")],
        [FormFile("file", name, media_type, io.BytesIO(one), len(one) + cut) for one in files],
    )


async def ask(client: Client, url: str, body: FormBody) -> int:
    where = target(url, {"Content-Type": FORM})
    response = await client.post(where, body, by=asyncio.get_running_loop().time() + 10)
    while await response.readany():
        pass
    return response.status


def read(request: bytes) -> dict[str, Any]:
    return form_of(request.partition(b"\r\n\r\n")[2], {"content-type": FORM})


async def test_a_form_arrives_as_long_as_it_says_and_the_connection_serves_the_next(client: Client) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(COUNTED)

    body = form(LARGE, b"", b"\r\n--")
    async with upstream(serve) as served:
        for _ in range(2):  # the files are read anew
            assert await ask(client, served.url, body) == 200
    assert served.connections == 1
    for request in served.requests:
        assert len(request.partition(b"\r\n\r\n")[2]) == len(body)
        found = read(request)
        assert (found["model"], found["prompt"]) == ("m", "سلام\r\n--x")
        assert _files(found["file"]) == [
            ("a.wav", "audio/wav", LARGE), ("a.wav", "audio/wav", b""), ("a.wav", "audio/wav", b"\r\n--"),
        ]  # fmt: skip


def _files(found: Any) -> list[tuple[str, str, bytes]]:
    return [*_files(found[0]), found[1]] if isinstance(found, list) else [found]


async def test_an_answer_that_comes_early_is_heard_and_ends_the_sending(client: Client) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(COUNTED.replace(b"200 OK", b"413 No"))
        while await peer.reader.read(2**16):
            pass

    async with upstream(serve) as served:
        assert await ask(client, served.url, form(LARGE * 4)) == 413
        assert await ask(client, served.url, form(b"x")) == 413
    assert served.connections == 2  # the first one had more to take


async def test_a_peer_that_leaves_in_the_middle_is_told(client: Client) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.end("reset")

    async with upstream(serve) as served:
        with pytest.raises(OSError):  # noqa: PT011 - whichever the system has
            await ask(client, served.url, form(LARGE))


async def test_a_file_that_has_become_shorter_is_no_answer(client: Client) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()

    async with upstream(serve) as served:
        with pytest.raises(OSError, match="shorter"):
            await ask(client, served.url, form(b"abc", cut=1))


def test_names_and_types_cannot_write_lines_of_their_own() -> None:
    body = b"".join(form(b"x", name='a"\r\nX: y', media_type="audio/wav\r\nX: y").pieces())
    assert b"X: y\r\n" not in body
    assert b'filename="a%22%0D%0AX: y"\r\nContent-Type: application/octet-stream\r\n' in body


def test_a_boundary_is_this_processs_own() -> None:
    assert len(BOUNDARY) == 48
    assert FORM.endswith(BOUNDARY)
