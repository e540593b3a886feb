"""An upstream's URL must not lead into the operator's own network, nor carry secrets."""

import socket
from typing import Any

import pytest
from django.utils import translation

from accounts.shared.outbound import UnsafeURL
from proxy.catalogue.upstream_url import validate_upstream_url


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, list[str]]:
    """A resolver that knows these names alone, numbers aside."""
    names = {"api.example.com": ["93.184.215.14"], "inner.example.com": ["93.184.215.14", "10.0.0.7"]}
    real = socket.getaddrinfo
    settings.UPSTREAM_ALLOWED_HOSTS = ["model-server"]

    def getaddrinfo(host: str, port: int, **kwargs: Any) -> Any:
        if host in names:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]
        return real(host, port, flags=socket.AI_NUMERICHOST, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://api.example.com:8443/openai/v1//", "https://api.example.com:8443/openai/v1"),
        ("http://model-server:8000/v1", "http://model-server:8000/v1"),
        ("https://93.184.215.14/v1", "https://93.184.215.14/v1"),
    ],
)
def test_a_public_https_url_or_an_allowed_host_is_taken_without_its_trailing_slash(
    url: str, kept: str
) -> None:
    assert validate_upstream_url(url) == kept


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.com/v1", "https"),
        ("ftp://api.example.com/v1", "https"),
        ("api.example.com/v1", "https"),
        ("https://", "name a host"),
        ("https://[::1/v1", "not a URL"),
        ("https://api.example.com:99999/v1", "not a URL"),
        ("https://user:secret@api.example.com/v1", "password"),
        ("https://api.example.com/v1?key=secret", "query"),
        ("https://api.example.com/v1#top", "fragment"),
        ("https://api.example.com/v1 ", "spaces"),
        ("https://api.example.com/\nv1", "spaces"),
        ("https://nowhere.example.com/v1", "resolved"),
        ("https://api.example.com/" + "a" * 300, "too long"),
        ("https://inner.example.com/v1", "private"),  # one private address among public ones is enough
        ("https://127.0.0.1/v1", "private"),
        ("https://10.1.2.3/v1", "private"),
        ("https://169.254.169.254/latest", "private"),
        ("https://[::1]/v1", "private"),
        ("https://[fe80::1]/v1", "private"),
        ("https://[::ffff:127.0.0.1]/v1", "private"),
        ("https://2130706433/v1", "private"),  # 127.0.0.1 as one number
    ],
)
def test_any_other_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    with translation.override("en"), pytest.raises(UnsafeURL, match=reason):
        validate_upstream_url(url)
