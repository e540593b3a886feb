"""The address that the web processes listen on."""

import socket


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, for web processes to share; connections are refused until one of them listens.

    Raises OSError.
    """
    family, kind, proto, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
