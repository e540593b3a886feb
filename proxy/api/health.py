"""Whether this process can serve: what /readyz says."""

import asyncio

import psycopg
import psycopg_pool
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from proxy.runtime import Runtime

TIMEOUT_SECONDS = 2
_migrated = False
_look: asyncio.Future[str] | None = None
_stopping = False


def stop() -> None:
    """From now on this process is not ready, so that load balancers send it nothing new."""
    global _stopping  # noqa: PLW0603 - a process stops once
    _stopping = True


def is_ready(checks: dict[str, str]) -> bool:
    return all(checks.get(part) == "ok" for part in ("postgresql", "migrations", "catalogue", "settlements"))


async def check(runtime: Runtime) -> dict[str, str]:
    """State by part: "ok", or what is wrong with it, in words fit for strangers."""
    if _stopping:
        return {"process": "stopping"}
    postgresql, valkey = await asyncio.gather(_postgresql(runtime), _valkey(runtime))
    migrations = "unknown" if postgresql != "ok" else await _migrations()
    return {
        "postgresql": postgresql,
        "valkey": valkey,
        "migrations": migrations,
        "catalogue": "ok" if runtime.catalogue.is_loaded else "unread",
        "settlements": "late" if runtime.holds.settlements_are_late else "ok",
    }


async def _postgresql(runtime: Runtime) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), runtime.database.connection() as database:
            await database.execute("SELECT 1")
    except (psycopg.Error, psycopg_pool.PoolTimeout, TimeoutError):
        return "unreachable"
    return "ok"


async def _valkey(runtime: Runtime) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await runtime.valkey.ping()
    except (RedisError, OSError, TimeoutError):
        return "unreachable"
    return "ok"


async def _migrations() -> str:
    """One look at a time, however many ask: on a starved machine it takes seconds, and a thread that others need."""
    global _look  # noqa: PLW0603 - of the process
    if _look is None or _look.done():
        _look = asyncio.ensure_future(asyncio.to_thread(_look_at_migrations))
    return await asyncio.shield(_look)


def _look_at_migrations() -> str:
    global _migrated  # noqa: PLW0603 - once applied they stay applied
    if _migrated:
        return "ok"
    try:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:  # it has left since it was asked whether it is there
        return "unknown"
    finally:
        connection.close()
    return "ok" if _migrated else "pending"
