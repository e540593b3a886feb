"""The ledger's short way through psycopg's connection: the same rows, the same errors, and nothing left behind."""

import asyncio
import json
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from tests.wallet.ledger.test_group_commit import conninfo
from wallet.ledger.connection import LedgerConnection

SUM = "SELECT n, n / 2.0, n IS NULL, NULL, 'é' FROM json_to_recordset(%(items)s::json) AS r(n int)"


@pytest_asyncio.fixture(params=[0, None], ids=["prepared", "pooled"])
async def connection(committed_db: None, request: pytest.FixtureRequest) -> AsyncIterator[LedgerConnection]:
    made = await LedgerConnection.connect(conninfo(), autocommit=True, prepare_threshold=request.param)
    async with asyncio.timeout(60):
        yield made
    await made.close()


async def one(connection: LedgerConnection, sql: str = "SELECT %(n)s::int") -> object:
    """What a statement makes of 7."""
    ((value,),) = await connection.ask(sql, {"n": b"7"})
    return value


async def from_elsewhere(sql: str, *args: object) -> object:
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as other:
        cursor = await other.execute(sql, args)
        row = await cursor.fetchone()
        return row and row[0]


async def test_rows_are_those_that_psycopg_reads(connection: LedgerConnection) -> None:
    items = json.dumps([{"n": 1}, {"n": None}, {"n": 3}])
    cursor = await connection.execute(SUM, {"items": items})
    expected = await cursor.fetchall()
    for _ in range(2):
        assert await connection.ask(SUM, {"items": items.encode()}) == expected
    assert await connection.ask(SUM, {"items": b"[]"}) == []


async def test_a_statement_is_prepared_once_unless_it_may_not_be(connection: LedgerConnection) -> None:
    for _ in range(3):
        await one(connection)
        await connection.ask("SELECT %(b)s::text, %(a)s::text", {"a": b"1", "b": b"2"})
    ((names,),) = await connection.ask(
        "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE %(like)s", {"like": b"ledger%"}
    )
    assert names == (0 if connection.prepare_threshold is None else 3)


async def test_each_parameter_is_where_its_name_stands(connection: LedgerConnection) -> None:
    sql = "SELECT %(b)s::text, %(a)s::text, %(b)s::text"
    assert await connection.ask(sql, {"a": b"1", "b": b"2"}) == [("2", "1", "2")]
    with pytest.raises(AssertionError, match="not given"):
        await connection.ask(sql, {"a": b"1"})


async def test_a_refused_statement_raises_what_psycopg_raises_and_the_next_is_served(
    connection: LedgerConnection,
) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero) as refused:
        await one(connection, "SELECT 1 / (%(n)s::int - 7)")
    assert (refused.value.sqlstate, refused.value.diag.source_function) == ("22012", "int4div")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await one(connection, "SELECT %(n)s::int FROM nowhere")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="é"):
        await connection.ask("SELECT %(n)s::int", {"n": "é".encode()})
    assert await one(connection) == 7


async def test_what_is_larger_than_the_sockets_buffers_comes_through_both_ways(
    connection: LedgerConnection,
) -> None:
    large = b"x" * 20_000_000
    for _ in range(2):
        assert await connection.ask("SELECT %(n)s::text", {"n": large}) == [(large.decode(),)]


async def test_psycopgs_own_ways_work_in_between(connection: LedgerConnection) -> None:
    for _ in range(3):
        assert await one(connection) == 7
        assert await (await connection.execute("SELECT 8")).fetchone() == (8,)
        async with connection.transaction():
            assert await one(connection) == 7


async def test_a_connection_that_is_ended_under_a_statement(connection: LedgerConnection) -> None:
    pid = connection.info.backend_pid
    waiting = asyncio.create_task(one(connection, "SELECT %(n)s::int FROM pg_sleep(30)"))
    while not await from_elsewhere(  # noqa: ASYNC110 - what it waits for is in another process
        "SELECT true FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'", pid
    ):
        await asyncio.sleep(0.01)
    await from_elsewhere("SELECT pg_terminate_backend(%s)", pid)
    with pytest.raises(psycopg.errors.AdminShutdown):
        await waiting
    with pytest.raises(psycopg.OperationalError):
        await one(connection)


async def test_a_connection_that_is_ended_between_statements_is_read_no_more(
    connection: LedgerConnection,
) -> None:
    await one(connection)
    await from_elsewhere("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
    while connection._socket is not None:  # noqa: ASYNC110 - what it waits for is in another process
        await asyncio.sleep(0.01)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            await one(connection)


async def test_a_statement_that_is_cancelled_ends_in_the_server_too(connection: LedgerConnection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await one(connection, "SELECT %(n)s::int FROM pg_sleep(30)")
    state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    assert await from_elsewhere(state, connection.info.backend_pid) == "idle"
    assert await one(connection) == 7


async def test_a_statement_that_takes_too_long_ends_in_the_server_too(
    connection: LedgerConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr("wallet.ledger.connection.STATEMENT_SECONDS", 0.1)
        with pytest.raises(TimeoutError):
            await one(connection, "SELECT %(n)s::int FROM pg_sleep(30)")
    state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    assert await from_elsewhere(state, connection.info.backend_pid) == "idle"
    assert await one(connection) == 7


async def test_a_statement_that_is_cancelled_when_its_answer_has_come_waits_for_nothing(
    connection: LedgerConnection,
) -> None:
    await one(connection)
    asking = asyncio.create_task(one(connection))
    while connection._answered is None or not connection._answered.done():  # noqa: ASYNC110 - likewise
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await one(connection) == 7
