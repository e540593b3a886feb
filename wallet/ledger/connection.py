"""psycopg's connection with a shorter way for the ledger's statements; its socket is read for as long as it lives.

Relies on one task using a connection at a time. Whatever else psycopg does with one waits as it always does: the
reader makes way for it and comes back with the next statement.
"""

import asyncio
import contextlib
from functools import cache
from typing import Any

import psycopg
from psycopg import adapt
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

# A server that fell silent is given up within these, so that what waits finds the one that has taken its place.
STATEMENT_SECONDS = 8.0
CANCEL_SECONDS = 2.0


class LedgerConnection(psycopg.AsyncConnection[Any]):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._statements: dict[bytes, bytes] = {}  # names of those that are prepared
        self._socket: int | None = None  # that is read
        self._results: list[PGresult] = []
        self._broken: psycopg.Error | None = None
        self._answered: asyncio.Future[None] | None = None
        self._warning: str | None = None
        self.add_notice_handler(self._notice)

    async def ask(self, sql: str, parameters: dict[str, bytes]) -> list[tuple[Any, ...]]:
        """The rows of a statement with parameters `%(name)s`, which are texts of no type. Raises psycopg.Error.

        Prepared, unless `prepare_threshold` is None. Takes STATEMENT_SECONDS at most: TimeoutError. One that is
        cancelled, or takes longer, is cancelled in the server, too.

        A warning is an OperationalError: our statements give none, and a commit that stopped waiting for a second
        machine is told of in no other way. It may be lost, so it counts as unknown.
        """
        numbered, values = _numbered(sql, tuple(parameters)), list(parameters.values())
        # A timer of the loop's costs a fifth of what `asyncio.timeout` costs.
        patience = asyncio.get_running_loop().call_later(STATEMENT_SECONDS, self._too_late)
        try:
            if self.prepare_threshold is None:
                self.pgconn.send_query_params(numbered, values)
            else:
                self.pgconn.send_query_prepared(await self._prepared_name(numbered), values)
            result = await self._result()
        except (asyncio.CancelledError, TimeoutError):
            await self._cancel()
            raise
        finally:
            patience.cancel()
        if self._warning is not None:
            raise psycopg.OperationalError(self._warning)
        rows = adapt.Transformer(self)
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    async def _prepared_name(self, numbered: bytes) -> bytes:
        if (name := self._statements.get(numbered)) is None:
            name = b"ledger_%d" % len(self._statements)
            self.pgconn.send_prepare(name, numbered)
            await self._result()
            self._statements[numbered] = name
        return name

    async def _result(self) -> PGresult:
        """The result of what was sent a moment ago."""
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket = self.pgconn.socket
            loop.add_reader(self._socket, self._read)
        self._results, self._broken, self._warning = [], None, None
        answered = self._answered = loop.create_future()
        try:
            while self.pgconn.flush() and not answered.done():
                await self._writable(answered)
            await answered
        finally:
            self._answered = None
            del answered  # it may hold an error, whose trace holds this frame
        results, self._results = self._results, []
        if not results:
            raise self._broken or psycopg.InternalError("no result")
        if (result := results[0]).status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise psycopg.errors.error_from_result(result, encoding=self.info.encoding)
        return result

    async def _writable(self, answered: "asyncio.Future[None]") -> None:
        """Until the socket takes more, or all is over."""
        loop, socket = asyncio.get_running_loop(), self.pgconn.socket
        taken = asyncio.Event()
        loop.add_writer(socket, taken.set)
        waiter = asyncio.ensure_future(taken.wait())
        try:
            await asyncio.wait((waiter, answered), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_writer(socket)
            waiter.cancel()

    def _read(self) -> None:
        try:
            self.pgconn.consume_input()
            while not self.pgconn.is_busy():
                if (result := self.pgconn.get_result()) is None:
                    break
                self._results.append(result)
            else:
                return
        except psycopg.Error as error:  # libpq has closed the socket; what the server said before is kept
            self._broken = error
            self._make_way()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _notice(self, said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            self._warning = said.message_primary

    def _too_late(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(TimeoutError("no answer in time"))

    async def _cancel(self) -> None:
        """As psycopg does in `wait`: what nobody waits for any more is not to be done later."""
        if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
            with contextlib.suppress(psycopg.Error, TimeoutError):
                await self.cancel_safe(timeout=CANCEL_SECONDS)
                async with asyncio.timeout(CANCEL_SECONDS):
                    await self._result()

    def _make_way(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket = None

    async def wait(self, *args: Any, **options: Any) -> Any:
        self._make_way()
        return await super().wait(*args, **options)

    async def close(self) -> None:
        self._make_way()
        await super().close()


@cache
def _numbered(sql: str, names: tuple[str, ...]) -> bytes:
    """As libpq writes parameters."""
    for number, name in enumerate(names, 1):
        sql = sql.replace(f"%({name})s", f"${number}")
    assert "%" not in sql, "a parameter is not given"
    return sql.encode()
