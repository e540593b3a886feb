"""Which connection carries a request, what goes over it, and how long anybody waits."""

import asyncio
import socket
import ssl
from collections.abc import Sequence

import pytest

from proxy.wire import client as client_module
from proxy.wire.addresses import Addresses
from proxy.wire.client import Client, NotReached, target
from tests.proxy.wire.conftest import to_loopback
from tests.proxy.wire.test_answers import COUNTED, JSON, there, told
from tests.proxy.wire.upstream import Peer, saying, turns, until, upstream

HEADERS = {"User-Agent": "hamiran", "Authorization": "Bearer key"}


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_request_says_what_it_has_to_and_nothing_that_was_not_meant(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    said = COUNTED.replace(b"OK", b"OK\r\nSet-Cookie: a=b; Path=/")
    async with upstream(saying(said)) as served:
        for _ in range(2):
            assert await told(client, target(served.url, HEADERS)) == (200, JSON)
    assert served.requests == 2 * [
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: hamiran\r\n"
        b"Authorization: Bearer key\r\nAccept-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}" % served.port
    ]


@pytest.mark.parametrize(
    ("url", "line", "host", "origin"),
    [
        ("https://api.test/v1", "POST /v1 ", "api.test", ("https", "api.test", 443)),
        ("https://api.test:8443/v1", "POST /v1 ", "api.test:8443", ("https", "api.test", 8443)),
        ("http://api.test", "POST / ", "api.test", ("http", "api.test", 80)),
        ("http://[::1]:81/v1", "POST /v1 ", "[::1]:81", ("http", "::1", 81)),
        ("http://bücher.test/é", "POST /%C3%A9 ", "xn--bcher-kva.test", ("http", "xn--bcher-kva.test", 80)),
        ("http://api.test/a%20b/c d", "POST /a%20b/c%20d ", "api.test", ("http", "api.test", 80)),
    ],
)  # fmt: skip
def test_a_url_is_a_line_a_host_and_an_origin(
    url: str, line: str, host: str, origin: tuple[str, str, int]
) -> None:
    made = target(url, HEADERS)
    assert made.origin == origin
    assert made.head.decode().startswith(f"{line}HTTP/1.1\r\nHost: {host}\r\n")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://api.test/", "key"),
        ("https:///v1", "key"),
        ("https://api.test:99999/", "key"),
        ("https://api.test/", "key\r\nX-Other: a"),
        ("https://api.test/", "key\x00"),
        ("https://" + "ü" * 80 + ".test/", "key"),
    ],
)
def test_what_cannot_be_sent_is_refused(url: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"URL|header|ort|label|encod"):
        target(url, {"Authorization": f"Bearer {key}"})


async def test_requests_at_once_have_a_connection_each_and_share_them_afterwards(client: Client) -> None:
    async with upstream(saying(COUNTED)) as served:
        for _ in range(3):
            answers = await asyncio.gather(*(told(client, there(served.port)) for _ in range(5)))
            assert answers == [(200, JSON)] * 5
        assert served.connections == 5


async def test_a_connection_is_kept_for_a_while_and_no_longer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "KEEP_SECONDS", 0.05)
    left = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(COUNTED)
        await peer.reader.read()
        left.set()

    async with upstream(serve) as served:
        assert await told(client, there(served.port)) == (200, JSON)
        assert client._idle
        await asyncio.wait_for(left.wait(), 10)
        assert not client._idle


async def test_a_connection_that_was_idle_for_too_long_is_not_used(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(saying(COUNTED)) as served:
        assert await told(client, there(served.port)) == (200, JSON)
        monkeypatch.setattr(client_module, "KEEP_SECONDS", 0.0)
        assert await told(client, there(served.port)) == (200, JSON)
        assert served.connections == 2


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    await peer.reader.read()


async def test_an_answer_has_until_its_time_and_its_connection_ends_then(client: Client) -> None:
    async with upstream(silent) as served:
        by = now() + 0.1
        with pytest.raises(TimeoutError) as caught:
            await client.post(there(served.port), b"{}", by=by)
        assert not isinstance(caught.value, NotReached)
        assert now() >= by - 0.01
        await until(lambda: not client._connections)


async def test_whoever_stops_asking_ends_the_connection(client: Client) -> None:
    async with upstream(silent) as served:
        asking = asyncio.create_task(client.post(there(served.port), b"{}", by=now() + 60))
        await until(lambda: served.requests)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: not client._connections)


async def test_whoever_stops_as_the_answer_comes_harms_nobody_who_asks_over_the_same_connection(
    client: Client,
) -> None:
    async with upstream(saying(COUNTED)) as served:
        first = asyncio.create_task(client.post(there(served.port), b"{}", by=now() + 60))
        while not client._idle.get(there(served.port).origin):
            await asyncio.sleep(0)
            assert not first.done()
        second = asyncio.create_task(told(client, there(served.port)))
        first.cancel()
        assert await second == (200, JSON)
        await asyncio.gather(first, return_exceptions=True)
        assert served.connections == 1


async def test_a_closed_client_leaves_no_connection(client: Client) -> None:
    async with upstream(silent) as served:
        asking = asyncio.create_task(client.post(there(served.port), b"{}", by=now() + 60))
        await until(lambda: served.requests)
        await client.close()
        assert not client._connections
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


# --- addresses --------------------------------------------------------------------------------------------------


async def test_a_host_that_takes_no_connection_in_time_is_not_reached() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    client = Client(resolve=nowhere, connect_seconds=0.05)
    with pytest.raises(NotReached):
        await client.post(target("http://api.test/", {}), b"", by=now() + 60)
    with pytest.raises(TimeoutError) as caught:
        await client.post(target("http://api.test/", {}), b"", by=now() + 0.01)
    assert not isinstance(caught.value, NotReached)
    await client.close()
    await turns()


async def test_a_connection_is_made_to_what_the_resolver_says_and_to_the_next_one_where_that_fails() -> None:
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.9", "::ffff:127.0.0.9", "127.0.0.1"]

    client = Client(resolve=resolve, connect_seconds=5)
    async with upstream(saying(COUNTED)) as served:
        for _ in range(3):
            where = target(served.url.replace("127.0.0.1", "localhost"), {})
            assert await told(client, where) == (200, JSON)
            await client.close()
            client._all_over = None
    assert set(asked) == {"localhost"}


async def test_a_refused_connection_and_a_name_without_addresses_are_errors_of_the_system() -> None:
    async def none(host: str, port: int) -> Sequence[str]:
        raise OSError(f"{host} has no public address")

    client = Client(resolve=to_loopback, connect_seconds=5)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await client.post(there(bound.getsockname()[1]), b"", by=now() + 5)
    await client.close()
    client = Client(resolve=none, connect_seconds=5)
    with pytest.raises(OSError, match="no public address"):
        await client.post(target("http://api.test/", {}), b"", by=now() + 5)
    await client.close()


async def test_a_name_is_resolved_once_for_all_who_ask_and_its_addresses_are_first_in_turn() -> None:
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        await turns()
        return ["10.0.0.1", "10.0.0.2", "::1"]

    addresses = Addresses(resolve)
    found = await asyncio.gather(*(addresses.of("api.test", 443) for _ in range(4)))
    assert [each[0][4][0] for each in found] == ["10.0.0.1", "10.0.0.2", "::1", "10.0.0.1"]
    assert [each[0][0] for each in found] == [
        socket.AF_INET, socket.AF_INET, socket.AF_INET6, socket.AF_INET,
    ]  # fmt: skip
    assert asked == ["api.test"]


async def test_a_failed_look_up_is_made_again_and_an_old_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        if len(asked) == 1:
            raise OSError("name server away")
        return ["10.0.0.1"]

    addresses = Addresses(resolve)
    with pytest.raises(OSError, match="away"):
        await addresses.of("api.test", 443)
    monkeypatch.setattr("proxy.wire.addresses.KNOWN_SECONDS", 0.0)
    for _ in range(2):
        await addresses.of("api.test", 443)
    assert len(asked) == 3


async def test_certificates_are_checked_by_default() -> None:
    context = client_module.trusted_tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
