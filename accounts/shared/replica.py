"""Reading from a replica of PostgreSQL: which pages do, how old what they show may be, and when they rather do not.

A view under `read` is answered from the replica while that is at most settings.REPLICA_LAG_MAX_SECONDS behind;
`request.as_of` is then the moment whose state it shows, or one before, and the page says so. Behind, away, or no
replica any more: it is answered by the primary. Balances are of models that never are read here.
"""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Gauge

logger = logging.getLogger(__name__)

ALIAS = "replica"
AWAY_SECONDS = 10.0  # before one that was away is asked again

LAG = Gauge(
    "hamiran_replica_lag_seconds",
    "How far the replica is behind, as this process has last seen it; NaN where it is away",
    multiprocess_mode="mostrecent",
)
READS = Counter("hamiran_replica_reads_total", "Pages that may be read from the replica", ["read_from"])

PRIMARY_AT = "SELECT pg_current_wal_lsn()::text, clock_timestamp()"
# Replayed up to where the primary was: so it shows that moment. If not: the last transaction that it has replayed.
REPLICA_AT = """
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() >= %s::pg_lsn, pg_last_xact_replay_timestamp()
"""

Arguments = ParamSpec("Arguments")
View = Callable[Concatenate[HttpRequest, Arguments], HttpResponseBase]

_alias: ContextVar[str] = ContextVar("alias", default=DEFAULT_DB_ALIAS)


def connection() -> BaseDatabaseWrapper:
    """What the view that runs reads from."""
    return connections[_alias.get()]


class Router:
    """Sends the reading of settings.REPLICA_MODELS to where the view that runs reads from."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        # Said of the others too: what belongs to a row of the replica would else be read there.
        return _alias.get() if model._meta.label_lower in settings.REPLICA_MODELS else DEFAULT_DB_ALIAS

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == ALIAS else None


class NoReplica(Exception):
    def __init__(self) -> None:
        super().__init__("it is no replica")


def look() -> tuple[datetime | None, float]:
    """The moment that the replica shows (None: of no change yet), and how many seconds it is behind.

    Raises DatabaseError, NoReplica.
    """
    at, now = _row(DEFAULT_DB_ALIAS, PRIMARY_AT)
    is_replica, is_level, replayed_at = _row(ALIAS, REPLICA_AT, at)
    if not is_replica:
        raise NoReplica
    as_of: datetime | None = now if is_level else replayed_at
    return as_of, float("inf") if as_of is None else (now - as_of).total_seconds()


class _Watch:
    """Looks at each connection anew: a door to several replicas leads to another one each time."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._is_read: bool | None = None

    def as_of(self) -> datetime | None:
        """The moment that this thread's connection shows; None: it is not to be used."""
        if time.monotonic() < self._away_until:
            return None
        try:
            as_of, lag = look()
        except (DatabaseError, NoReplica) as error:
            self.away(error)
            return None
        LAG.set(lag)
        if lag > settings.REPLICA_LAG_MAX_SECONDS:
            self._note(f"it is {lag:.0f} s behind")
            return None
        self._note(None)
        return as_of

    def away(self, why: object) -> None:
        connections[ALIAS].close()
        LAG.set(float("nan"))
        self._away_until = time.monotonic() + AWAY_SECONDS
        self._note(why)

    def _note(self, why: object | None) -> None:
        if why is not None and self._is_read is not False:
            logger.warning("the replica is not read", extra={"why": str(why).strip().partition("\n")[0]})
        elif why is None and self._is_read is not True:
            logger.info("the replica is read")
        self._is_read = why is None


_watch = _Watch()


def read(view: View[Arguments]) -> View[Arguments]:
    """For a view that only reads: from the replica where there is one that is near enough."""

    @wraps(view)
    def wrapped(
        request: HttpRequest, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> HttpResponseBase:
        as_of = _watch.as_of() if settings.REPLICA_URL else None
        if as_of is not None:
            set_before = _alias.set(ALIAS)
            request.as_of = as_of  # type: ignore[attr-defined]
            try:
                response = view(request, *args, **kwargs)
            except DatabaseError as error:  # gone, or busy with what the primary has deleted
                del request.as_of  # type: ignore[attr-defined]
                _watch.away(error)
            else:
                READS.labels("replica").inc()
                return response
            finally:
                _alias.reset(set_before)
        if settings.REPLICA_URL:
            READS.labels("primary").inc()
        return view(request, *args, **kwargs)

    return wrapped


def _row(alias: str, sql: str, *parameters: str) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()
