"""Network addresses: read from what machines write, and as limits count them. Pure: no Django."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPV6_SUBSCRIBER_BITS = 64


def parse(text: str) -> Address:
    """An address as a peer or a proxy writes it: with a port, in brackets or quotes, with a zone, IPv4 as IPv6.

    >>> [str(parse(text)) for text in ("192.0.2.7:80", '"[2001:db8::1]:443"', "::ffff:192.0.2.7", "fe80::1%eth0")]
    ['192.0.2.7', '2001:db8::1', '192.0.2.7', 'fe80::1']

    Raises ValueError.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def counted(text: str, *, ipv4_bits: int = 32, ipv6_bits: int = IPV6_SUBSCRIBER_BITS) -> str:
    """The address to count a client under: an IPv4 address itself, an IPv6 address as its /64, or wider networks.

    Whoever has one IPv6 address has the whole /64. A text that is no address (a Unix socket has none) counts
    under the unspecified address, all of them together.
    """
    try:
        address = parse(text)
    except ValueError:
        return str(ipaddress.IPv4Address(0))
    bits = ipv4_bits if isinstance(address, ipaddress.IPv4Address) else ipv6_bits
    return str(ipaddress.ip_network((address, bits), strict=False).network_address)
