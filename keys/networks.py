"""Networks that a key may be used from, and whether an address lies in one of them. Pure: no Django, no I/O."""

import ipaddress
from collections.abc import Iterable

IPV4_PREFIX = 96  # bits before an IPv4 address that is written as IPv6
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse(text: str) -> Network:
    """A network in CIDR notation; an address alone is a network of one, and bits beyond the prefix are dropped.

    >>> str(parse("192.0.2.7")), str(parse("192.0.2.7/24")), str(parse("2001:db8::1/32"))
    ('192.0.2.7/32', '192.0.2.0/24', '2001:db8::/32')

    IPv4 written as IPv6 is IPv4, as it is in `allow`. Raises ValueError, for a zone (`%eth0`) too.
    """
    if "%" in text:
        raise ValueError(f"{text!r} names a zone")
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= IPV4_PREFIX:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - IPV4_PREFIX))
    return network


def allow(networks: Iterable[Network], address: str) -> bool:
    """Whether an address lies in one of the networks. A text that is no address (a Unix socket has none) does not."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
