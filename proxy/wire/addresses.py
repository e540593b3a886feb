"""Addresses of upstreams' hosts, asked for once at a time and kept for a while.

Relies on the resolver that it is given to leave out what must not be called.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

KNOWN_SECONDS = 30.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
# Family, type, protocol, canonical name and address, as getaddrinfo has them.
Address = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


class Addresses:
    """`resolve` gives the IP addresses that may be called, and raises OSError where there is none."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[tuple[str, int], tuple[float, asyncio.Task[list[Address]]]] = {}

    async def of(self, host: str, port: int) -> list[Address]:
        """Each time another one of them comes first. Raises OSError."""
        now = asyncio.get_running_loop().time()
        until, asking = self._known.get((host, port), (now, None))
        if asking is None or (asking.done() and (until <= now or asking.cancelled() or asking.exception())):
            asking = asyncio.create_task(self._ask(host, port), name=f"addresses of {host}")
            self._known[host, port] = (now + KNOWN_SECONDS, asking)
        found = await asyncio.shield(asking)
        found.append(found.pop(0))
        return [found[-1], *found[:-1]]

    def close(self) -> None:
        for _until, asking in self._known.values():
            asking.cancel()

    async def _ask(self, host: str, port: int) -> list[Address]:
        try:
            found = await self._resolve(host, port)
        except UnicodeError as error:
            raise OSError(f"{host} is no name of a host") from error
        return [_address(one, port) for one in found]


def _address(ip: str, port: int) -> Address:
    stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    if ":" in ip:
        return (socket.AF_INET6, *stream, (ip, port, 0, 0))
    return (socket.AF_INET, *stream, (ip, port))
