"""Group commit: batches form under load, a poisoned item fails alone, a lost connection loses nothing."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from wallet.ledger import group_commit
from wallet.ledger.connection import LedgerConnection
from wallet.ledger.group_commit import GroupCommit, LedgerUnavailable

Connection = psycopg.AsyncConnection[Any]


def conninfo() -> str:
    settings = connection.settings_dict
    return f"dbname={settings['NAME']} user={settings['USER']} host={settings['HOST']}"


@asynccontextmanager
async def running(statement: Any, *, keeps_trying: bool = False) -> AsyncIterator[GroupCommit[Any, Any]]:
    queue: GroupCommit[Any, Any] = GroupCommit(
        name="test", conninfo=conninfo(), statement=statement, keeps_trying=keeps_trying
    )
    queue.start()
    try:
        yield queue
    finally:
        await queue.close(timeout_seconds=5)


async def test_what_arrives_during_a_batch_forms_the_next(committed_db: None) -> None:
    sizes = []

    async def statement(database: Connection, items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        await database.execute("SELECT pg_sleep(0.05)")
        return [item * 2 for item in items]

    async with running(statement) as queue:
        results = await asyncio.gather(*(queue.submit(n) for n in range(100)))
    assert results == [n * 2 for n in range(100)]
    assert len(sizes) <= 3


async def test_a_poisoned_item_fails_alone(committed_db: None) -> None:
    async def statement(database: Connection, items: Sequence[int]) -> list[int]:
        cursor = await database.execute(
            "SELECT 100 / n FROM unnest(%s::int[]) WITH ORDINALITY AS t(n, at) ORDER BY at", [list(items)]
        )
        return [row[0] for row in await cursor.fetchall()]

    async with running(statement) as queue:
        results = await asyncio.gather(*(queue.submit(n) for n in [1, 2, 0, 4, 5]), return_exceptions=True)
    assert isinstance(results[2], psycopg.errors.DivisionByZero)
    assert [result for result in results if isinstance(result, int)] == [100, 50, 25, 20]


async def test_an_item_that_failed_is_free_without_the_garbage_collector(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit.logger, "disabled", True)  # pytest would keep what it logs

    class Item:
        pass

    async def statement(_database: Connection, _items: Sequence[Item]) -> list[int]:
        raise ValueError

    async def submit(queue: GroupCommit[Item, int], item: Item) -> None:
        with contextlib.suppress(ValueError):
            await queue.submit(item)

    async with running(statement) as queue:
        gc.disable()
        try:
            item = Item()
            is_alive = weakref.ref(item)
            await submit(queue, item)
            del item
            await submit(queue, Item())  # the queue itself lets go of a batch with the next one
            assert not is_alive()
        finally:
            gc.enable()


async def cut(database: Connection) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s)", [database.info.backend_pid])


async def be_demoted(database: Connection) -> None:
    """As a server answers that has become a replica under its connections."""
    await database.execute("SET default_transaction_read_only = on")
    await database.execute("CREATE TABLE never (n int)")


async def leave_a_commit_behind(database: Connection) -> None:
    """As a server answers whose wait for a second machine was ended."""
    assert isinstance(database, LedgerConnection)
    await database.ask("DO $$ BEGIN RAISE WARNING 'canceling wait for synchronous replication'; END $$", {})


@pytest.mark.parametrize("keeps_trying", [False, True])
@pytest.mark.parametrize("lose", [cut, be_demoted, leave_a_commit_behind])
async def test_a_connection_that_is_lost(
    committed_db: None, lose: Callable[[Connection], Awaitable[None]], keeps_trying: bool
) -> None:
    calls = 0

    async def statement(database: Connection, items: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await lose(database)
        await database.execute("SELECT 1")
        return items

    async with running(statement, keeps_trying=keeps_trying) as queue:
        if keeps_trying:
            assert await queue.submit(1) == 1
        else:
            with pytest.raises(LedgerUnavailable):
                await queue.submit(1)
        assert await queue.submit(2) == 2


async def test_a_full_queue_says_so(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 3)
    go, in_flight = asyncio.Event(), asyncio.Event()

    async def statement(_database: Connection, items: Sequence[int]) -> Sequence[int]:
        in_flight.set()
        await go.wait()
        return items

    async with running(statement) as queue:
        first = queue.submit_later(0)
        await in_flight.wait()
        waiting = [queue.submit_later(n) for n in (1, 2, 3)]
        with pytest.raises(LedgerUnavailable):
            await queue.submit(9)
        go.set()
        assert await asyncio.gather(first, *waiting) == [0, 1, 2, 3]


async def test_a_caller_that_is_cancelled_leaves_its_item_in_the_queue(committed_db: None) -> None:
    carried_out: list[int] = []
    go = asyncio.Event()

    async def statement(_database: Connection, items: Sequence[int]) -> Sequence[int]:
        await go.wait()
        carried_out.extend(items)
        return items

    async with running(statement) as queue:
        caller = asyncio.create_task(queue.submit(7))
        await asyncio.sleep(0)
        caller.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
    assert carried_out == [7]


async def test_closing_carries_out_what_waits(committed_db: None) -> None:
    carried_out: list[int] = []

    async def statement(database: Connection, items: Sequence[int]) -> Sequence[int]:
        await database.execute("SELECT pg_sleep(0.01)")
        carried_out.extend(items)
        return items

    async with running(statement) as queue:
        for n in range(50):
            queue.submit_later(n)
    assert sorted(carried_out) == list(range(50))


async def test_a_caller_cancelled_in_the_moment_of_the_commit_is_told_of_it(committed_db: None) -> None:
    go, in_flight, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def statement(_database: Connection, items: Sequence[int]) -> Sequence[int]:
        in_flight.set()
        await go.wait()
        return items

    async with running(statement) as queue:
        caller = asyncio.create_task(queue.submit(1, on_abandoned=left.set))
        await in_flight.wait()
        go.set()
        caller.cancel()  # before the worker runs again, in which the batch ends
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.wait_for(left.wait(), 5)


async def test_what_was_never_sent_is_in_no_doubt(committed_db: None) -> None:
    async def statement(_database: Connection, items: Sequence[int]) -> Sequence[int]:
        raise psycopg.OperationalError("the connection broke")

    async with running(statement) as queue:
        with pytest.raises(LedgerUnavailable) as sent:
            await queue.submit(1)
    assert sent.value.in_doubt
    unreachable: group_commit.GroupCommit[int, int] = group_commit.GroupCommit(
        name="unreachable", conninfo="host=/nowhere", statement=statement, keeps_trying=False
    )
    unreachable.start()
    with pytest.raises(LedgerUnavailable) as unsent:
        await unreachable.submit(1)
    assert not unsent.value.in_doubt
    await unreachable.close(timeout_seconds=1)


@pytest.mark.parametrize("keeps_trying", [False, True])
async def test_a_table_that_changes_under_a_prepared_statement_fails_nobody(
    committed_db: None, keeps_trying: bool
) -> None:
    """PostgreSQL refuses such a statement for as long as its connection lives, before anything of it is done."""

    async def statement(database: Connection, items: Sequence[int]) -> Sequence[Any]:
        cursor = await database.execute(
            "SELECT changing.n FROM changing, unnest(%s::int[]) WITH ORDINALITY ORDER BY ordinality",
            [list(items)],
        )
        return [row[0] for row in await cursor.fetchall()]

    async with (
        await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as migration,
        running(statement, keeps_trying=keeps_trying) as queue,
    ):
        await migration.execute("CREATE TABLE changing AS SELECT 1 AS n")
        try:
            assert [await queue.submit(0) for _ in range(3)] == [1] * 3
            for kind, expected in (("bigint", 1), ("text", "1"), ("bigint USING n::bigint", 1)):
                await migration.execute(f"ALTER TABLE changing ALTER n TYPE {kind}")
                assert await asyncio.gather(*(queue.submit(0) for _ in range(3))) == [expected] * 3
        finally:
            await migration.execute("DROP TABLE changing")


async def test_it_says_how_long_the_oldest_item_has_been_waiting(committed_db: None) -> None:
    go, in_flight = asyncio.Event(), asyncio.Event()

    async def statement(_database: Connection, items: Sequence[int]) -> Sequence[int]:
        in_flight.set()
        await go.wait()
        return items

    async with running(statement) as queue:
        assert queue.oldest_seconds == 0
        first = queue.submit_later(1)
        queued = queue.oldest_seconds
        await in_flight.wait()
        second = queue.submit_later(2)
        assert 0 < queued < queue.oldest_seconds
        go.set()
        await asyncio.gather(first, second)
        await asyncio.wait_for(queue._idle.wait(), 5)
        assert queue.oldest_seconds == 0
