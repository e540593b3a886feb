"""Whom a TLS connection is made to: a host whose chain the trust store knows, and that has the name it was called."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.wire.client import Client, target, trusted_tls
from tests.proxy.wire.conftest import to_loopback
from tests.proxy.wire.test_answers import CHUNKED, COUNTED, JSON, UNTIL_CLOSE, told
from tests.proxy.wire.upstream import CLOSE, Peer, one_by_one, saying, upstream

DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Signs with a key of its own; `above` signed it."""

    name: str
    above: "Authority | None" = None

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (self.above or self).sign(self.name, self.key, is_authority=True)

    def sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = False,
        until: datetime.timedelta = DAY,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        public = self.key.public_key()
        built = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(signer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * DAY)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if not is_authority:
            names = x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            )
            built = built.add_extension(names, critical=False)
        return built.sign(self.key, hashes.SHA256())

    def server(self, folder: Path, name: str, *, until: datetime.timedelta = DAY) -> ssl.SSLContext:
        """A server's side, with every certificate up to the root, which the client knows."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = [self.sign(name, key, until=until)]
        authority = self
        while authority.above is not None:
            chain.append(authority.certificate)
            authority = authority.above
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / "server.pem"
        path.write_bytes(pem + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


ROOT = Authority("Root")
INTERMEDIATE = Authority("Intermediate", ROOT)


@pytest_asyncio.fixture
async def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Client]:
    """Its system trusts the root."""
    store = tmp_path / "store.pem"
    store.write_bytes(ROOT.certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    made = Client(resolve=to_loopback, connect_seconds=10)
    yield made
    await made.close()


def by() -> float:
    return asyncio.get_running_loop().time() + 20


@pytest.mark.parametrize("said", [COUNTED, CHUNKED], ids=["counted", "chunked"])
@pytest.mark.parametrize("host", ["api.test", "127.0.0.1"])
async def test_a_host_with_a_chain_to_a_known_root_is_asked_over_kept_connections(
    client: Client, tmp_path: Path, host: str, said: bytes
) -> None:
    tls = INTERMEDIATE.server(tmp_path, "api.test")
    asked = []
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with upstream(saying(*one_by_one(said)), tls=tls) as served:
        for _ in range(3):
            assert await told(client, target(f"https://{host}:{served.port}/v1", {})) == (200, JSON)
        assert served.connections == 1
    assert asked == ["api.test" if host == "api.test" else None]


async def test_http_1_1_is_agreed_on(tmp_path: Path, client: Client) -> None:
    agreed = []

    async def serve(peer: Peer) -> None:
        agreed.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await saying(COUNTED)(peer)

    async with upstream(serve, tls=INTERMEDIATE.server(tmp_path, "api.test")) as served:
        assert await told(client, target(f"https://api.test:{served.port}/v1", {})) == (200, JSON)
    assert agreed == ["http/1.1"]


async def test_an_answer_until_the_end_of_a_tls_connection_is_read(client: Client, tmp_path: Path) -> None:
    async with upstream(
        saying(UNTIL_CLOSE, end=CLOSE), tls=INTERMEDIATE.server(tmp_path, "api.test")
    ) as served:
        assert await told(client, target(f"https://api.test:{served.port}/v1", {})) == (200, JSON)


@pytest.mark.parametrize(
    ("name", "host", "valid_until", "authority", "reason"),
    [
        ("api.test", "other.test", DAY, INTERMEDIATE, "Hostname mismatch"),
        ("api.test", "api.test", -DAY, INTERMEDIATE, "expired"),
        ("api.test", "api.test", DAY, Authority("Root"), "verify failed"),
        ("api.test", "api.test", DAY, Authority("Intermediate", Authority("Unknown")), "verify failed"),
    ],
    ids=["another name", "expired", "an impostor of the root", "an unknown root"],
)
async def test_a_host_that_cannot_prove_who_it_is_gets_no_byte(
    client: Client,
    tmp_path: Path,
    name: str,
    host: str,
    valid_until: datetime.timedelta,
    authority: Authority,
    reason: str,
) -> None:
    tls = authority.server(tmp_path, name, until=valid_until)
    async with upstream(saying(COUNTED), tls=tls) as served:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            await client.post(target(f"https://{host}:{served.port}/v1", {}), b"{}", by=by())
        assert not served.requests
        assert not client._connections


async def test_a_host_that_speaks_no_tls_is_an_error_of_the_system(client: Client) -> None:
    async def serve(peer: Peer) -> None:
        peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.reader.read()

    async with upstream(serve) as served:
        with pytest.raises(ssl.SSLError):
            await client.post(target(f"https://api.test:{served.port}/v1", {}), b"{}", by=by())


def test_the_store_is_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = tmp_path / "store.pem"
    store.write_bytes(ROOT.certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    known = trusted_tls().get_ca_certs()
    assert {"commonName": "Root"} in [dict(part[0] for part in one["subject"]) for one in known]  # type: ignore[misc]
