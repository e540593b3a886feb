"""Pipelines to one server: opened as the URL says, each reply for its own command, and no connection kept in doubt."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.limits.valkey import Server as Client
from proxy.limits.valkey import connect_server
from proxy.wire.valkey import Command
from tests.valkey_servers import Server

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = connect_server(url)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def talking(folder: Path, talk: Talk) -> AsyncIterator[Client]:
    """A client of a server that says what a test wants it to say."""
    ended: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ended.append(task)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await talk(reader, writer)

    async with await asyncio.start_unix_server(accept, folder / "talk"):
        async with connected(f"unix://{folder}/talk") as client:
            yield client
        await asyncio.gather(*ended)


async def lost(client: Client) -> None:
    wire = client.pipelines._wire
    async with asyncio.timeout(5):
        while wire is None or not wire.is_lost:  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.01)


async def run(client: Client, commands: list[Command], *, seconds: float = 5) -> list[Any]:
    return await client.pipelines.run(commands, by=asyncio.get_running_loop().time() + seconds)


async def number(client: Client) -> int:
    """The connection's number at the server."""
    (found,) = await run(client, [("CLIENT", "ID")])
    assert isinstance(found, int)
    return found


async def test_replies_come_in_the_order_of_their_commands_with_refusals_among_them(valkey: Server) -> None:
    async with connected(valkey.url) as client:
        first, refused, unknown, last = await run(
            client, [("ECHO", "é"), ("NONSENSE",), ("EVALSHA", "0" * 40, 0), ("INCRBY", "n", 7)]
        )
        assert (first, last) == ("é".encode(), 7)
        assert type(refused) is redis.exceptions.ResponseError
        assert type(unknown) is redis.exceptions.NoScriptError


async def test_one_connection_serves_pipeline_after_pipeline(valkey: Server) -> None:
    async with connected(valkey.url) as client:
        assert len({await number(client) for _ in range(5)}) == 1


async def test_user_password_and_database_are_those_of_the_url(valkey: Server) -> None:
    with valkey.client() as admin:
        admin.execute_command("ACL", "SETUSER", "lim", "on", ">p@ss", "~*", "+@all")
        admin.execute_command("CONFIG", "SET", "requirepass", "s3cret")
    for credentials, user in (("lim:p%40ss@", b"lim"), (":s3cret@", b"default")):
        async with connected(f"unix://{credentials}{valkey.folder}/socket?db=3") as client:
            whoami, info = await run(client, [("ACL", "WHOAMI"), ("CLIENT", "INFO")])
            assert whoami == user
            assert b" db=3 " in info


@pytest.mark.parametrize("url", ["unix://:wrong@{}/socket", "unix://{}/socket?db=99"])
async def test_a_server_that_refuses_the_greeting_is_asked_nothing(valkey: Server, url: str) -> None:
    async with connected(url.format(valkey.folder)) as client:
        for _ in range(2):
            with pytest.raises(redis.exceptions.ResponseError):
                await run(client, [("INCR", "asked")])
    with valkey.client() as direct:
        assert direct.get("asked") is None


def certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority, and what a server on localhost shows that it has signed."""
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "localhost")
    ]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    now = datetime.datetime.now(datetime.UTC)
    made = []
    for name, key in zip(names, keys, strict=True):
        is_authority = name == names[0]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "authority.pem").write_bytes(made[0])
    plain = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(plain + made[1])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return folder / "authority.pem", context


async def test_tls_is_spoken_and_the_servers_certificate_is_checked(valkey: Server, tmp_path: Path) -> None:
    authority, context = certificates(tmp_path)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside = await asyncio.open_unix_connection(valkey.folder / "socket")
        await asyncio.gather(pass_on(reader, inside[1]), pass_on(inside[0], writer))

    async with await asyncio.start_server(accept, "localhost", 0, ssl=context) as front:
        where = f"rediss://localhost:{front.sockets[0].getsockname()[1]}/2"
        async with connected(f"{where}?ssl_ca_certs={authority}") as client:
            big = b"x" * 1_000_000
            assert await run(client, [("SET", "big", big), ("GET", "big")]) == [b"OK", big]
        async with connected(where) as client:
            with pytest.raises(ssl.SSLCertVerificationError):
                await run(client, [("PING",)])


async def test_a_connection_that_the_server_closed_meanwhile_costs_nobody_an_answer(valkey: Server) -> None:
    async with connected(valkey.url) as client:
        first = await number(client)
        with valkey.client() as admin:
            admin.client_kill_filter(_id=str(first))
        await lost(client)
        assert await number(client) != first


async def test_a_pipeline_that_is_given_up_keeps_its_late_replies_from_the_next(valkey: Server) -> None:
    async with connected(valkey.url) as client:
        first = await number(client)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await run(client, [("BLPOP", "nothing", 1), ("ECHO", "late")])
        assert await run(client, [("ECHO", "own")]) == [b"own"]
        assert await number(client) != first


async def test_a_connection_that_breaks_fails_the_pipeline_under_way(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"+half")

    async with talking(tmp_path, talk) as client:
        for _ in range(2):
            with pytest.raises(redis.exceptions.ConnectionError):
                await run(client, [("PING",)])


async def test_replies_may_come_byte_by_byte(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        for byte in b"*2\r\n:5\r\n$3\r\nabc\r\n-NOSCRIPT gone\r\n$-1\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with talking(tmp_path, talk) as client:
        listed, gone, nothing = await run(client, [("A",), ("B",), ("C",)])
    assert (listed, nothing) == ([5, b"abc"], None)
    assert isinstance(gone, redis.exceptions.NoScriptError)


@pytest.mark.parametrize("said", [b"+own\r\n+one too many\r\n", b"+own\r\n+half of one too ma", b"?what\r\n"])
async def test_a_server_that_says_more_than_it_was_asked_is_not_believed(tmp_path: Path, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        await reader.read()

    async with talking(tmp_path, talk) as client:
        for _ in range(2):
            with pytest.raises(redis.exceptions.InvalidResponse):
                await run(client, [("PING",)])


async def test_what_comes_between_two_pipelines_is_nobodys_answer(tmp_path: Path) -> None:
    talks = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal talks
        talks += 1
        await reader.read(100)
        writer.write(b"+%d\r\n" % talks)
        await writer.drain()
        if talks == 1:
            await go.wait()
            writer.write(b"+stray")
            await reader.read()

    go = asyncio.Event()
    async with talking(tmp_path, talk) as client:
        assert await run(client, [("PING",)]) == [b"1"]
        go.set()
        await lost(client)
        assert await run(client, [("PING",)]) == [b"2"]


async def test_a_server_that_does_not_answer_in_time_costs_its_connection(tmp_path: Path) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(tmp_path, never) as client:
        with pytest.raises(TimeoutError):
            await run(client, [("PING",)], seconds=0.05)
        await lost(client)
