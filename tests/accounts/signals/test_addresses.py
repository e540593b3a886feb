"""Which addresses webhooks may have, and that what was checked is what is connected to, under the name's own TLS."""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.utils import translation

from accounts.shared.outbound import UnsafeURL
from accounts.signals import endpoints, sending
from accounts.signals.sending import Answer, post
from tests.accounts.signals import receiver as receivers
from tests.accounts.signals.receiver import Receiver
from tests.proxy.wire.test_tls import DAY, Authority

NAMES = {"hooks.example.com": ["93.184.215.14"], "inner.example.com": ["93.184.215.14", "10.0.0.7"]}


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Knows these names alone, numbers aside."""
    settings.WEBHOOK_ALLOWED_HOSTS = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, **kwargs: Any) -> Any:
        if host in NAMES:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in NAMES[host]]
        return real(host, port, flags=socket.AI_NUMERICHOST, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://hooks.example.com/a?token=b", "https://hooks.example.com/a?token=b"),
        ("https://hooks.example.com/a#b", "https://hooks.example.com/a"),
        ("https://hooks.example.com:8443", "https://hooks.example.com:8443"),
        ("https://hooks.example.com:443/", "https://hooks.example.com:443/"),
    ],
)
def test_a_public_https_address_is_taken(address: str, kept: str, resolver: None) -> None:
    assert endpoints.checked_address(address) == kept


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://hooks.example.com/", "https"),
        ("http://127.0.0.1:8000/", "https"),
        ("hooks.example.com", "https"),
        ("https://user:secret@hooks.example.com/", "password"),
        ("https://hooks.example.com/ a", "spaces"),
        ("https://hooks.example.com/" + "a" * 500, "too long"),
        ("https://hooks.example.com:25/", "port"),
        ("https://hooks.example.com:80/", "port"),
        ("https://hooks.example.com:99999/", "not a URL"),
        ("https://nowhere.example.com/", "not found on the public"),
        ("https://inner.example.com/", "not found on the public"),
        ("https://localhost/", "not found on the public"),
        ("https://127.0.0.1/", "not found on the public"),
        ("https://10.1.2.3/", "not found on the public"),
        ("https://100.64.0.1/", "not found on the public"),
        ("https://169.254.169.254/latest/meta-data/", "not found on the public"),
        ("https://[::1]/", "not found on the public"),
        ("https://[::ffff:10.0.0.1]/", "not found on the public"),
        ("https://2130706433/", "not found on the public"),
    ],
)
def test_any_other_is_refused_and_says_nothing_of_this_network(
    address: str, reason: str, resolver: None
) -> None:
    with translation.override("en"), pytest.raises(UnsafeURL, match=reason) as refusal:
        endpoints.checked_address(address)
    assert "WEBHOOK_ALLOWED_HOSTS" not in str(refusal.value)


async def test_a_name_that_leads_home_when_it_is_connected_to_is_not_followed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def home(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "::1"]

    monkeypatch.setattr(sending, "_addresses", home)
    for url in (f"https://hooks.example.com:{receiver.port}/", f"http://hooks.example.com:{receiver.port}/"):
        answer = await post(url, body=b"{}", headers={}, allowed_hosts=frozenset({"other.example.com"}))
        assert answer == Answer("address")
    assert receiver.got == []


async def test_plain_http_goes_nowhere_but_to_hosts_that_the_operator_allowed(receiver: Receiver) -> None:
    assert await post(receiver.address, body=b"{}", headers={}, allowed_hosts=frozenset()) == Answer(
        "address"
    )
    allowed = await post(receiver.address, body=b"{}", headers={}, allowed_hosts=frozenset({"127.0.0.1"}))
    assert allowed == Answer(status=204)


async def test_a_name_without_an_address_and_an_address_that_cannot_be_read_are_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(sending, "_addresses", nowhere)
    answer = await post("https://hooks.example.com/", body=b"", headers={}, allowed_hosts=frozenset())
    assert answer == Answer("unresolved")
    answer = await post("https://hooks.example.com:x/", body=b"", headers={}, allowed_hosts=frozenset())
    assert answer == Answer("address")


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The one that the sender trusts; every name leads to loopback, whose name the operator has allowed."""
    root = Authority("root")
    trusted = ssl.create_default_context(cadata=root.certificate.public_bytes(Encoding.PEM).decode())
    monkeypatch.setattr(sending, "_trusted", lambda: trusted)

    async def home(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(sending, "_addresses", home)
    return root


HOST = "hooks.example.com"


async def _told(port: int) -> Answer:
    return await post(f"https://{HOST}:{port}/a", body=b"{}", headers={}, allowed_hosts=frozenset({HOST}))


async def test_tls_is_checked_against_the_name_although_its_address_is_connected_to(
    authority: Authority, tmp_path: Path
) -> None:
    asked_for: list[str | None] = []
    context = authority.server(tmp_path, HOST)
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    with receivers.running(tls=context) as receiver:
        assert await _told(receiver.port) == Answer(status=204)
        assert asked_for == [HOST]
        assert receiver.got[0].headers["host"] == f"{HOST}:{receiver.port}"


@pytest.mark.parametrize("fault", ["other name", "other authority", "expired"])
async def test_a_certificate_that_is_not_the_names_is_not_accepted(
    fault: str, authority: Authority, tmp_path: Path
) -> None:
    context = {
        "other name": lambda: authority.server(tmp_path, "other.example.com"),
        "other authority": lambda: Authority("another").server(tmp_path, HOST),
        "expired": lambda: authority.server(tmp_path, HOST, until=-DAY),
    }[fault]()
    with receivers.running(tls=context) as receiver:
        assert await _told(receiver.port) == Answer("tls")
        assert receiver.got == []
