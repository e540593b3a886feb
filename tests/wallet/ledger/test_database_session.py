"""What a session is told is in force on every kind of connection, though the database itself says nothing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from accounts.shared import database_session
from proxy.runtime import Runtime
from tests.wallet.ledger.test_group_commit import conninfo
from wallet.ledger.group_commit import GroupCommit

SHOW = "SHOW idle_in_transaction_session_timeout"
FORGET = """DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I RESET idle_in_transaction_session_timeout', current_database());
END $$"""
SAY = FORGET.replace(
    "RESET idle_in_transaction_session_timeout", "SET idle_in_transaction_session_timeout = ''5s''"
)


@pytest.fixture
def forgotten(committed_db: None) -> Iterator[None]:
    """The database as a restore leaves it: its rows are there, its own settings are not."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
    connection.close()
    with psycopg.connect(conninfo()) as plain:
        assert plain.execute(SHOW).fetchone() == ("0",)
    yield
    with connection.cursor() as cursor:
        cursor.execute(SAY)


def shown() -> str:
    with connection.cursor() as cursor:
        cursor.execute(SHOW)
        return str(cursor.fetchone()[0])


def test_djangos_connections_have_it(forgotten: None) -> None:
    assert shown() == "5s"
    with transaction.atomic():
        assert shown() == "5s"


def test_the_ledgers_connections_have_it(forgotten: None) -> None:
    async def show(opened: "psycopg.AsyncConnection[Any]", items: Any) -> list[Any]:
        row = await (await opened.execute(SHOW)).fetchone()
        return [row for _item in items]

    async def ask() -> Any:
        queue: GroupCommit[int, Any] = GroupCommit(
            name="test", conninfo=conninfo(), statement=show, keeps_trying=False
        )
        queue.start()
        try:
            return await queue.submit(1)
        finally:
            await queue.close(timeout_seconds=5)

    assert asyncio.run(ask()) == ("5s",)


def test_the_connections_that_look_up_keys_have_it(forgotten: None) -> None:
    async def ask() -> Any:
        pool = Runtime().database
        await pool.open()
        try:
            async with pool.connection() as opened:
                return await (await opened.execute(SHOW)).fetchone()
        finally:
            await pool.close()

    assert asyncio.run(ask()) == ("5s",)


def test_a_transaction_has_it_where_a_pooler_hands_out_sessions_that_were_never_told(
    forgotten: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_session, "TELL", "SELECT 0")  # as PgBouncer would: another session's number
    connection.close()
    try:
        with transaction.atomic():
            assert shown() == "5s"
        assert shown() == "0"  # nothing is left behind for whoever has the session next
    finally:
        connection.close()
