"""Network addresses as limits count them. Pure: no Django."""

import ipaddress

IPV6_SUBSCRIBER_BITS = 64


def counted(text: str) -> str:
    """The address to count a client under: an IPv4 address itself, an IPv6 address as its /64.

    Whoever has one IPv6 address has the whole /64. A text that is no address (a Unix socket has none) counts
    under the unspecified address, all of them together.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return str(ipaddress.IPv4Address(0))
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    network = ipaddress.IPv6Network((int(address), IPV6_SUBSCRIBER_BITS), strict=False)
    return str(network.network_address)
