"""Which addresses this service may call because somebody entered them: https on the public Internet, or a host that
the operator allowed. Knows no model."""

import ipaddress
import socket
from collections.abc import Collection, Sequence
from urllib.parse import SplitResult, urlsplit

from django.utils.translation import gettext as _

NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UnsafeURL(ValueError):
    """The URL must not be called; the message tells whoever entered it why."""


class NotPublic(UnsafeURL):
    """The host has no address, or one that is not of the public Internet (`is_known`: it has one)."""

    def __init__(self, host: str, *, is_known: bool) -> None:
        super().__init__(_("The host %(host)s was not found on the public Internet.") % {"host": host})
        self.host = host
        self.is_known = is_known


def check(url: str, *, allowed_hosts: Collection[str], max_length: int) -> SplitResult:
    """Asks the resolver, so call it outside a transaction. A name can change its mind: who connects asks `allowed`.

    A host in `allowed_hosts` may be private and without TLS. Raises UnsafeURL.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise UnsafeURL(_("The URL must not contain spaces or control characters."))
    if len(url) > max_length:
        raise UnsafeURL(_("The URL is too long."))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnsafeURL(_("This is not a URL.")) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise UnsafeURL(_("The URL must start with https:// and name a host."))
    if parts.username is not None or parts.password is not None:
        raise UnsafeURL(_("The URL must not contain a user name or password."))
    if host not in allowed_hosts:
        if parts.scheme != "https":
            raise UnsafeURL(_("The URL must start with https://."))
        _require_public(host, port or 443)
    return parts


def allowed(host: str, addresses: Sequence[str], *, allowed_hosts: Collection[str]) -> list[str]:
    """Those of a host's IP addresses that may be connected to."""
    return [each for each in addresses if host in allowed_hosts or is_public(each)]


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
        raise NotPublic(host, is_known=False) from None
    if not all(is_public(str(address[0])) for *_family, address in found):
        raise NotPublic(host, is_known=True)
