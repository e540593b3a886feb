"""What one web process holds for the API: its ledger queues, key cache, catalogue, limiter and upstream connections."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from accounts.shared import database_session
from keys.admin_lookup import AdminKeyCache
from keys.lookup import KeyCache, listen_for_revocations
from proxy.catalogue.learning import Learning
from proxy.catalogue.served import CatalogueCache
from proxy.idempotency.claims import Claims
from proxy.limits import valkey
from proxy.limits.intake import Intake
from proxy.limits.limiter import Limiter
from proxy.limits.prefix_store import PrefixStore
from proxy.limits.reads import Reads
from proxy.upstreams.breakers import Breakers
from proxy.upstreams.calls import Upstreams
from proxy.upstreams.rests import Rests
from proxy.upstreams.routing import Router
from proxy.usage import today
from proxy.usage.records import record_sql
from proxy.wire import traces
from wallet.ledger.holds import Holds

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 3
POOL_SIZE, READINGS_AT_ONCE, READING_SECONDS = 4, 2, 10


class Runtime:
    """Started and closed with the web process' event loop (ASGI lifespan)."""

    def __init__(self) -> None:
        self.database: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            settings.DATABASE_URL,
            min_size=1,
            max_size=POOL_SIZE,
            timeout=5,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": None},  # there may be a PgBouncer in between
            configure=_tell_session,
            check=AsyncConnectionPool.check_connection,
        )
        self.valkey = valkey.connect_server(settings.REDIS_URL)
        self.windows = valkey.connect(settings.LIMITS_URL)
        self.holds = Holds(conninfo=settings.DATABASE_URL, record_sql=record_sql())
        self.claims = Claims(self.database.connection, self.holds)
        self.keys = KeyCache(self.database.connection)
        self.admin_keys = AdminKeyCache(self.database.connection)
        self.catalogue = CatalogueCache()
        self.limiter = Limiter(
            self.windows,
            running_seconds=settings.HOLD_SECONDS,
            recorded=today.recorded(self.database.connection),
        )
        self.reads = Reads(self.limiter)
        self.prefixes = PrefixStore(self.limiter)
        self.intake = Intake()
        self.upstreams = Upstreams()
        self.breakers = Breakers(
            self.valkey,
            probe_seconds=settings.UPSTREAM_CONNECT_TIMEOUT_SECONDS
            + settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS,
        )
        self.rests = Rests(self.valkey)
        self.router = Router(upstreams=self.upstreams, breakers=self.breakers, rests=self.rests)
        self.learning = Learning(self.catalogue, self.database, self.valkey)
        self._readings = asyncio.Semaphore(READINGS_AT_ONCE)
        self._listeners: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if settings.TRACING:
            traces.start()
        await self.database.open(wait=False)
        self.holds.start()
        self.upstreams.start()
        self.breakers.start()
        self.rests.start()
        await self.catalogue.start()
        self._listeners = [
            asyncio.create_task(
                listen_for_revocations(self.valkey, self.keys, self.admin_keys), name="revocations"
            ),
            asyncio.create_task(self.learning.follow(), name="learning"),
        ]

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection for what is no model call: few at once, so that these always find one.

        Raises TimeoutError where the turn, or what is done with it, takes READING_SECONDS.
        """
        async with asyncio.timeout(READING_SECONDS), self._readings, self.database.connection() as connection:
            yield connection

    async def close(self) -> None:
        """Settles what is unsettled first, then lets go of everything."""
        await self.holds.close(timeout_seconds=DRAIN_SECONDS)
        await self.claims.close()
        await asyncio.to_thread(traces.close)
        for listener in self._listeners:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener
        await self.catalogue.close()
        await self.breakers.close()
        await self.rests.close()
        await self.upstreams.close()
        await self.windows.aclose()
        await self.valkey.aclose()
        await self.database.close()


async def _tell_session(connection: AsyncConnection[Any]) -> None:
    await database_session.tell_async(connection)


_current: Runtime | None = None


def current() -> Runtime:
    assert _current is not None, "the API is served only between lifespan start-up and shutdown"
    return _current


async def start() -> None:
    global _current  # noqa: PLW0603 - one a process
    _current = Runtime()
    await _current.start()


async def close() -> None:
    global _current  # noqa: PLW0603 - one a process
    if _current is not None:
        await _current.close()
        _current = None
