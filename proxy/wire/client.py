"""Posts to upstreams over HTTP/1.1 connections that are kept.

Relies on a connection being kept only once its answer was whole, and on nothing coming over it before the next one.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import aiohappyeyeballs

from proxy.wire.addresses import Addresses, Resolve
from proxy.wire.connection import Connection, Origin
from proxy.wire.form import FormBody
from proxy.wire.response import Response

KEEP_SECONDS = 30.0
NEXT_ADDRESS_SECONDS = 0.25  # after which the next address is tried as well
PORTS = {"http": 80, "https": 443}
# What may stand in a path as it is: RFC 3986, and what is escaped already.
IN_PATHS = "/%:@!$&'()*+,;="


class NotReached(TimeoutError):
    """No connection within the time that connecting may take."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a POST goes, and its head up to the length of its body."""

    origin: Origin
    head: bytes


def target(url: str, headers: Mapping[str, str]) -> Target:
    """Raises ValueError for what cannot be a URL or a header."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("no http or https URL with a host")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    port = parts.port or PORTS[parts.scheme]
    named = f"[{host}]" if ":" in host else host
    if port != PORTS[parts.scheme]:
        named += f":{port}"
    lines = [f"POST {quote(parts.path or '/', safe=IN_PATHS)} HTTP/1.1", f"Host: {named}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(character < " " or character == "\x7f" for line in lines for character in line):
        raise ValueError("a control character in a header")
    head = "".join(f"{line}\r\n" for line in lines) + "Accept-Encoding: identity\r\nContent-Length: "
    return Target(Origin(parts.scheme, host, port), head.encode())


def trusted_tls() -> ssl.SSLContext:
    """Certificates are checked against the system's store and the host's name; HTTP/1.1 is what is spoken."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Client:
    """`resolve` says which addresses a host has; a connection is made to no other."""

    def __init__(
        self, *, resolve: Resolve, connect_seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._addresses = Addresses(resolve)
        self._connect_seconds = connect_seconds
        self._tls = tls or trusted_tls()
        self._idle: dict[Origin, list[Connection]] = {}  # the one used last stands last
        self._connections: set[Connection] = set()
        self._tidying: asyncio.TimerHandle | None = None
        self._all_over: asyncio.Event | None = None

    async def post(self, where: Target, body: bytes | FormBody, *, by: float) -> Response:
        """Waits for the answer's head until `by`, the event loop's time.

        Raises OSError: NotReached, TimeoutError, NotAnswered, BrokenOff, Unreadable, or what the system says.
        """
        connection = self._take_idle(where.origin) or await self._connect(where.origin, by)
        return await connection.ask(where.head + b"%d\r\n\r\n" % len(body), body, by=by)

    async def close(self) -> None:
        """Ends every connection, also those that are in use."""
        if self._tidying is not None:
            self._tidying.cancel()
        self._addresses.close()
        if self._connections:
            self._all_over = asyncio.Event()
            for connection in self._connections:
                connection.abort()
            await self._all_over.wait()

    # --- connections that are kept --------------------------------------------------------------------------------

    def _take_idle(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.idle_since + KEEP_SECONDS > self._loop.time() and connection.is_usable():
                return connection
            connection.abort()
        return None

    def hold(self, connection: Connection) -> None:
        self._connections.add(connection)

    def keep(self, connection: Connection) -> None:
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._tidying is None:
            self._tidying = self._loop.call_later(KEEP_SECONDS, self._tidy)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._all_over is not None and not self._connections:
            self._all_over.set()
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)

    def _tidy(self) -> None:
        """Closes what was not used for KEEP_SECONDS, and comes back when the next one will not have been."""
        self._tidying = None
        over = self._loop.time() - KEEP_SECONDS
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= over:
                idle.pop(0).abort()
            if not idle:
                del self._idle[origin]
        if self._idle:
            oldest = min(idle[0].idle_since for idle in self._idle.values())
            self._tidying = self._loop.call_at(oldest + KEEP_SECONDS, self._tidy)

    # --- new connections ------------------------------------------------------------------------------------------

    async def _connect(self, origin: Origin, by: float) -> Connection:
        connected_by = self._loop.time() + self._connect_seconds
        try:
            async with asyncio.timeout_at(min(by, connected_by)):
                return await self._open(origin)
        except TimeoutError as error:
            if by <= connected_by:
                raise
            raise NotReached(f"{origin.host} was not reached in time") from error
        except RuntimeError as error:  # uvloop's, where a connection ends while it is made
            raise ConnectionError(str(error)) from error

    async def _open(self, origin: Origin) -> Connection:
        found = await self._addresses.of(origin.host, origin.port)
        connecting = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS)
        try:
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = origin.scheme == "https"
            _transport, connection = await self._loop.create_connection(
                lambda: Connection(self, origin),
                sock=connecting,
                ssl=self._tls if tls else None,
                server_hostname=origin.host.rstrip(".") if tls else None,
            )
        except BaseException:
            connecting.close()
            raise
        return connection
