"""Who the client is: the only place that reads X-Forwarded-For and X-Forwarded-Proto.

They are believed from the proxies that FORWARDED_ALLOW_IPS names and from nobody else. Everything behind takes the
result, `scope["client"]` or REMOTE_ADDR: limits, keys' networks, sessions, the audit log, the lock of admins' sign-in.
"""

from functools import lru_cache
from typing import Any

from auditlog.middleware import AuditlogMiddleware
from django.conf import settings
from django.http import HttpRequest

from accounts.shared import addresses
from accounts.shared.addresses import Address

MAX_HOPS = 30  # no chain of proxies is as long; a header can hold thousands


def apply(scope: dict[str, Any]) -> None:
    """Puts the client's address and scheme into an ASGI scope. The first entry that is no address ends the search."""
    client = scope.get("client")
    if client is None:  # a Unix socket
        return
    peer = _parsed(client[0])
    if peer is None or not _is_proxy(peer):
        scope["client"] = (str(peer or client[0]), client[1])
        return
    hops: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            hops += value.split(b",")
        elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
            scope["scheme"] = value.decode()
    for hop in reversed(hops[-MAX_HOPS:]):  # each proxy appends whom it got the request from
        address = _parsed(hop.decode("latin-1"))
        if address is None:
            break
        peer = address
        if not _is_proxy(address):
            break
    scope["client"] = (str(peer), client[1])


def address_of(request: HttpRequest) -> str | None:
    """The client's address as databases take it; None where it has none."""
    address = _parsed(request.META.get("REMOTE_ADDR", ""))
    return None if address is None else str(address)


def counted_address(request: HttpRequest) -> str:
    """What a client's guesses are counted under: a client with one IPv6 address has the 2^64 around it, too."""
    return addresses.counted(request.META.get("REMOTE_ADDR", ""))


class AuditMiddleware(AuditlogMiddleware):
    """For the audit log, whose own would believe these headers from any client."""

    @staticmethod
    def _get_remote_addr(request: HttpRequest) -> str | None:
        return address_of(request)

    @staticmethod
    def _get_remote_port(request: HttpRequest) -> None:
        return None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    if len(text) > 100:
        return None
    try:
        return addresses.parse(text)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _is_proxy(address: Address) -> bool:
    return any(address in network for network in settings.FORWARDED_ALLOW_IPS)
