"""Pipelines to one Valkey server over a connection whose socket is read for as long as it lives.

Relies on pipelines coming one at a time: whatever arrives belongs to the one that is under way. One that fails, is
cut off or given up takes its connection with it, so that no late reply meets another caller.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError, InvalidResponse, NoScriptError, RedisError, ResponseError

NOT_YET = object()
Command = tuple[str | int | float | bytes | memoryview, ...]


class Pipelines:
    """For one event loop. `address` is a connection of redis-py's that is never opened: it says what the URL says."""

    def __init__(self, address: AbstractConnection) -> None:
        self._address = address
        self._wire: _Wire | None = None

    async def run(self, commands: Sequence[Command], *, by: float) -> list[Any]:
        """The reply to each command, a RedisError where the server refused it. Raises RedisError or OSError.

        Whether anything was carried out is not known then. Waits until `by`, the event loop's time: TimeoutError.
        """
        if self._wire is None or self._wire.is_lost:
            async with asyncio.timeout_at(by):
                self._wire = await self._open(by)
        return await self._wire.ask(commands, by=by)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()

    async def _open(self, by: float) -> "_Wire":
        loop, address = asyncio.get_running_loop(), self._address
        wire: _Wire
        if isinstance(address, UnixDomainSocketConnection):
            _transport, wire = await loop.create_unix_connection(_Wire, address.path)
        else:
            tls = address.ssl_context.get() if isinstance(address, SSLConnection) else None
            host, port = cast("Connection", address).host, cast("Connection", address).port
            _transport, wire = await loop.create_connection(_Wire, host, port, ssl=tls)
        if greeting := _greeting(address):
            for reply in await wire.ask(greeting, by=by):
                if isinstance(reply, RedisError):
                    wire.close()
                    raise reply
        return wire


class _Wire(asyncio.Protocol):
    def __init__(self) -> None:
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=_refusal, notEnoughData=NOT_YET
        )
        self._transport: asyncio.Transport | None = None
        self._replies: list[Any] = []
        self._wanted = 0
        self._answered: asyncio.Future[list[Any]] | None = None

    @property
    def is_lost(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def ask(self, commands: Sequence[Command], *, by: float) -> list[Any]:
        assert self._transport is not None
        assert self._answered is None, "one pipeline at a time"
        self._replies, self._wanted = [], len(commands)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[Any]] = loop.create_future()
        self._answered = answered
        # A timer of the loop's costs a fifth of what `asyncio.timeout` costs, which was a tenth of a pipeline's way.
        patience = loop.call_at(by, self._fail, TimeoutError("no reply in time"))
        # hiredis' stub knows tuples of one alone.
        self._transport.write(b"".join(map(hiredis.pack_command, commands)))  # type: ignore[arg-type]
        try:
            return await answered
        except BaseException:  # also given up: its replies may still come
            self._transport.abort()
            raise
        finally:
            patience.cancel()
            del answered  # it holds its error, whose trace holds this frame

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answered is None:
            return self._fail(InvalidResponse("a reply that nobody asked for"))
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not NOT_YET:
                self._replies.append(reply)
        except InvalidResponse as error:
            return self._fail(error)
        if len(self._replies) < self._wanted:
            return None
        if len(self._replies) > self._wanted or self._reader.has_data():
            return self._fail(InvalidResponse("more replies than commands"))
        answered, self._answered = self._answered, None
        if not answered.done():
            answered.set_result(self._replies)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("Connection closed by server."))

    def _fail(self, error: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


def _greeting(address: AbstractConnection) -> list[Command]:
    greeting: list[Command] = []
    if address.username or address.password:
        user = (address.username,) if address.username else ()
        greeting.append(("AUTH", *user, address.password or ""))
    if address.db:
        greeting.append(("SELECT", address.db))
    return greeting


def _refusal(text: str) -> ResponseError:
    return NoScriptError(text) if text.startswith("NOSCRIPT ") else ResponseError(text)
