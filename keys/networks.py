"""Networks that a key may be used from, and whether an address lies in one of them. Pure: no Django, no I/O."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse(text: str) -> Network:
    """A network in CIDR notation; an address alone is a network of one, and bits beyond the prefix are dropped.

    >>> str(parse("192.0.2.7")), str(parse("192.0.2.7/24")), str(parse("2001:db8::1/32"))
    ('192.0.2.7/32', '192.0.2.0/24', '2001:db8::/32')

    Raises ValueError.
    """
    return ipaddress.ip_network(text, strict=False)


def allow(networks: Iterable[Network], address: str) -> bool:
    """Whether an address lies in one of the networks. A text that is no address (a Unix socket has none) does not."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
