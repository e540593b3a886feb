"""Which addresses an upstream may have: https on the public Internet, or a host that the operator allowed."""

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

URL_MAX_LENGTH = 300  # of Upstream.base_url
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UnsafeUpstreamURL(ValueError):
    """The URL must not be called; the message tells an admin why."""


def validate_upstream_url(url: str) -> str:
    """The URL without its trailing slash. Asks the resolver, so call it outside a transaction.

    A host in settings.UPSTREAM_ALLOWED_HOSTS may be private and without TLS. Raises UnsafeUpstreamURL.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise UnsafeUpstreamURL(_("The URL must not contain spaces or control characters."))
    if len(url) > URL_MAX_LENGTH:
        raise UnsafeUpstreamURL(_("The URL is too long."))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnsafeUpstreamURL(_("This is not a URL.")) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise UnsafeUpstreamURL(_("The URL must start with https:// and name a host."))
    if parts.username is not None or parts.password is not None:
        raise UnsafeUpstreamURL(_("The URL must not contain a user name or password."))
    if "?" in url or "#" in url:
        raise UnsafeUpstreamURL(_("The URL must not contain a query or a fragment."))
    if host not in settings.UPSTREAM_ALLOWED_HOSTS:
        if parts.scheme != "https":
            raise UnsafeUpstreamURL(_("The URL must start with https://."))
        _require_public(host, port or 443)
    return url.rstrip("/")


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of a URL: the server that a key is sent to. The key stays with it."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet, also seen through an IPv6 form of an IPv4 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def _require_public(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnsafeUpstreamURL(_("The host %(host)s cannot be resolved.") % {"host": host}) from None
    if not all(is_public(str(address[0])) for *_family, address in found):
        raise UnsafeUpstreamURL(
            _("The host %(host)s has a private address; allow it in UPSTREAM_ALLOWED_HOSTS.") % {"host": host}
        )
