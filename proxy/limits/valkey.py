"""Lua scripts in Valkey: what is asked while one pipeline is under way goes with the next.

A Cluster is asked by redis-py, one server over a connection of our own (proxy.wire.valkey).
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from proxy.wire.valkey import Pipelines

CLUSTER_SCHEMES = {"valkey+cluster": "redis", "redis+cluster": "redis", "rediss+cluster": "rediss"}
TIMEOUT_SECONDS = 1.0
MAX_BATCH = 256


class Unavailable(Exception):
    """A script was not carried out, as far as anybody knows; the client's own exception is the cause."""


class Server(redis.asyncio.Redis):
    """redis-py's client of one server, with a connection beside its pool for what is asked all the time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pipelines = Pipelines(self.connection_pool.make_connection())  # type: ignore[no-untyped-call]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        self.pipelines.close()
        await super().aclose(close_connection_pool)


Client = Server | RedisCluster


def connect_server(url: str) -> Server:
    """A client that fails at once instead of trying again: who uses it has another answer without Valkey."""
    made = Server.from_url(url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=TIMEOUT_SECONDS)
    return cast("Server", made)


def connect(url: str) -> Client:
    """Likewise for one server, or for a Cluster, of which `redis+cluster://` names any node."""
    scheme, _colon, rest = url.partition("://")
    if scheme in CLUSTER_SCHEMES:
        return RedisCluster.from_url(
            f"{CLUSTER_SCHEMES[scheme]}://{rest}",
            retry=Retry(NoBackoff(), 1),  # once, with the slots read anew: they may have moved
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
    return connect_server(url)


@dataclass(frozen=True)
class Script:
    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # SHA-1 is how the protocol names a script.
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


@dataclass(slots=True)
class _Call:
    script: Script
    arguments: tuple[Any, ...]
    reply: "asyncio.Future[Any]"


class ScriptQueue:
    """Runs scripts in the order in which they were submitted. For one event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: deque[_Call] = deque()
        self._sender: asyncio.Task[None] | None = None

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[str | int]) -> "asyncio.Future[Any]":
        """The script's reply, or within about a second Unavailable. All keys of a call must lie in one slot.

        A Cluster that changes can carry a call out twice.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(script, (len(keys), *keys, *args), reply))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return reply

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                try:
                    replies = await self._send(batch)
                except Exception as error:
                    # Any exception: a Cluster's client has some that are no RedisError, and no caller may hang. Calls
                    # that came meanwhile would wait for the same fault.
                    batch += self._waiting
                    self._waiting.clear()
                    replies = [error] * len(batch)
                for call, reply in zip(batch, replies, strict=True):
                    _answer(call.reply, reply)
        finally:
            self._sender = None

    async def _send(self, batch: list[_Call]) -> list[Any]:
        by = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
        commands: list[tuple[Any, ...]] = [("EVALSHA", call.script.sha, *call.arguments) for call in batch]
        replies = await self._pipeline(commands, by)
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:  # to a server that was started anew, say: EVAL teaches it the script
            taught = await self._pipeline(
                [("EVAL", batch[number].script.source, *batch[number].arguments) for number in unknown], by
            )
            for number, reply in zip(unknown, taught, strict=True):
                replies[number] = reply
        return replies

    async def _pipeline(self, commands: list[tuple[Any, ...]], by: float) -> list[Any]:
        if isinstance(self._client, Server):
            return await self._client.pipelines.run(commands, by=by)
        pipeline: Any = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        async with asyncio.timeout_at(by):
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies


def _answer(future: "asyncio.Future[Any]", reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, Exception):
        failure = Unavailable(str(reply) or repr(reply))
        failure.__cause__ = reply
        future.set_exception(failure)
        future.exception()  # seen: a caller that left must not raise a warning
    else:
        future.set_result(reply)
