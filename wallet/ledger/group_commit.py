"""Group commit: what arrives while one batch is in flight forms the next, and a caller resumes after COMMIT.

One durable commit then serves all that wait for one, so throughput grows with load and one busy wallet is as fast
as many (bench/README.md). One instance owns one autocommit connection; a batch is one statement.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg
from prometheus_client import Counter, Gauge, Histogram

from accounts.shared import database_session
from wallet.ledger.connection import LedgerConnection

logger = logging.getLogger(__name__)

BATCH_ITEMS = Histogram(
    "hamiran_ledger_batch_items",
    "Items committed together",
    ["queue"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
WAIT_SECONDS = Histogram(
    "hamiran_ledger_wait_seconds",
    "From arrival to COMMIT, of the oldest item of each batch",
    ["queue"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 20),
)
WAITING = Gauge(
    "hamiran_ledger_waiting", "Items that wait for the next batch", ["queue"], multiprocess_mode="livesum"
)
OLDEST_SECONDS = Gauge(
    "hamiran_ledger_oldest_seconds",
    "Age of the oldest item that is not durable",
    ["queue"],
    multiprocess_mode="livemax",
)
LOST = Counter("hamiran_ledger_connections_lost", "Batches whose database connection broke", ["queue"])

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 500
MAX_WAITING = 20_000
TELL_SECONDS = 1.0
AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    database_session.DEMOTED,
    TimeoutError,
    OSError,
)
RECONNECT_SECONDS = (0.05, 0.2, 0.5, 1.0)


class LedgerUnavailable(Exception):
    """The database cannot be reached, or too much waits for it already. Nothing was promised to the caller.

    `in_doubt`: the statement was sent, and may have been or yet be carried out.
    """

    def __init__(self, reason: str, *, in_doubt: bool = False) -> None:
        super().__init__(reason)
        self.in_doubt = in_doubt


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    done: "asyncio.Future[Result]"
    since: float
    on_abandoned: "Callable[[], None] | None"

    def abandon(self) -> None:
        if self.on_abandoned is not None:
            self.on_abandoned()


class GroupCommit(Generic[Item, Result]):
    """Runs `statement(connection, items) -> results` over batches of what is submitted.

    `keeps_trying` decides what a lost connection means. True: the statement is idempotent and its items wait until
    the database is back, however many there are. False: they fail with LedgerUnavailable at once.
    """

    def __init__(
        self,
        *,
        name: str,
        conninfo: str,
        statement: "Callable[[LedgerConnection, Sequence[Item]], Awaitable[Sequence[Result]]]",
        keeps_trying: bool,
    ) -> None:
        self._name = name
        self._conninfo = conninfo
        self._statement = statement
        self._keeps_trying = keeps_trying
        self._batch_items, self._wait_seconds = BATCH_ITEMS.labels(name), WAIT_SECONDS.labels(name)
        self._waiting_now, self._oldest_now = WAITING.labels(name), OLDEST_SECONDS.labels(name)
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._in_flight_since: float | None = None  # when the oldest item of the running batch arrived
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._connection: LedgerConnection | None = None
        self._worker: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._worker = asyncio.create_task(self._work(), name=f"group-commit-{self._name}")
        self._tell()

    def _tell(self) -> None:
        """Sets the two gauges, by the clock: a batch that hangs in the database would tell nothing."""
        self._waiting_now.set(len(self._waiting))
        self._oldest_now.set(self.oldest_seconds)
        self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    async def submit(self, item: Item, *, on_abandoned: "Callable[[], None] | None" = None) -> Result:
        """Returns the item's result once it is durable. Raises LedgerUnavailable, or what its statement raised.

        What was submitted is carried out even if its caller is cancelled; `on_abandoned` is then called after it.
        """
        full = not self._keeps_trying and len(self._waiting) >= MAX_WAITING
        if full or self._worker is None or self._worker.done():
            raise LedgerUnavailable(f"{self._name}: {len(self._waiting)} waiting")
        waiting = self._queue(item, on_abandoned)
        try:
            return await waiting.done
        except asyncio.CancelledError:
            # Not cancelled, though its caller is: it was carried out a moment ago.
            if on_abandoned is not None and not waiting.done.cancelled():
                on_abandoned()
            raise
        finally:
            # Its exception holds this frame: together they would wait for the garbage collector.
            del waiting

    def submit_later(self, item: Item) -> "asyncio.Future[Result]":
        """Queues an item however many wait already, for callers that cannot be refused."""
        return self._queue(item, None).done

    def _queue(self, item: Item, on_abandoned: "Callable[[], None] | None") -> _Waiting[Item, Result]:
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, done, time.perf_counter(), on_abandoned)
        self._waiting.append(waiting)
        self._idle.clear()
        self._arrived.set()
        return waiting

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest item that is not durable yet has been waiting; 0 where there is none."""
        since = self._in_flight_since
        if since is None:
            since = self._waiting[0].since if self._waiting else None
        return 0.0 if since is None else time.perf_counter() - since

    async def close(self, *, timeout_seconds: float) -> None:
        """Carries out what waits, for at most so long, then stops."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            logger.critical(
                "ledger queue not drained", extra={"queue": self._name, "left": len(self._waiting)}
            )
        if self._telling is not None:
            self._telling.cancel()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._disconnect()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                self._in_flight_since = batch[0].since
                await self._commit(batch)
                self._in_flight_since = None
            self._idle.set()

    async def _commit(self, batch: list[_Waiting[Item, Result]]) -> None:
        attempt = 0
        while True:
            sent = False
            try:
                connection = self._connection or await self._connect()
                sent = True
                results = await self._statement(connection, [waiting.item for waiting in batch])
            except AWAY as error:
                await self._disconnect()
                LOST.labels(self._name).inc()
                logger.warning(
                    "ledger connection lost",
                    extra={"queue": self._name, "batch": len(batch), "error": str(error)},
                )
                if not self._keeps_trying:
                    return self._fail(batch, LedgerUnavailable(str(error), in_doubt=sent))
                await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
                attempt += 1
            except Exception as error:
                if _is_stale(error):
                    logger.warning(
                        "a table changed: ledger connection begun anew", extra={"queue": self._name}
                    )
                    await self._disconnect()
                    continue
                if len(batch) == 1:
                    logger.exception("ledger item failed", extra={"queue": self._name})
                    return self._fail(batch, error.with_traceback(None))  # whose frames hold the batch
                # One bad item must not take its neighbours along: halve until it stands alone.
                middle = len(batch) // 2
                await self._commit(batch[:middle])
                return await self._commit(batch[middle:])
            else:
                self._batch_items.observe(len(batch))
                self._wait_seconds.observe(time.perf_counter() - batch[0].since)
                for waiting, result in zip(batch, results, strict=True):
                    if waiting.done.cancelled():
                        waiting.abandon()
                    elif not waiting.done.done():
                        waiting.done.set_result(result)
                return None

    def _fail(self, batch: list[_Waiting[Item, Result]], error: Exception) -> None:
        for waiting in batch:
            if waiting.done.cancelled():
                waiting.abandon()
            elif not waiting.done.done():
                waiting.done.set_exception(error)
                waiting.done.exception()  # retrieved, or asyncio warns where the caller has gone

    async def _connect(self) -> "LedgerConnection":
        async with asyncio.timeout(5):
            connection = await LedgerConnection.connect(
                self._conninfo, autocommit=True, prepare_threshold=None
            )
            try:
                if not await database_session.tell_async(connection):
                    # Prepared at once: planning these statements costs more than running them.
                    connection.prepare_threshold = 0
            except BaseException:
                await connection.close()
                raise
        self._connection = connection
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _is_stale(error: Exception) -> bool:
    """Whether PostgreSQL refused a prepared statement because a migration changed what it returns.

    Nothing of it was done, and the connection refuses it for ever. The function is named in every language.
    """
    if not isinstance(error, psycopg.errors.FeatureNotSupported):
        return False
    return error.diag.source_function == "RevalidateCachedQuery"
