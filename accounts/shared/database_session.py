"""What every session with PostgreSQL is told, whichever way it was opened, so that no restored database lacks it."""

from typing import Any

import psycopg

# A server whose place another has taken refuses what writes. PostgreSQL counts that among errors of the program, and it
# is over with the next connection, which finds the new primary.
DEMOTED = psycopg.errors.ReadOnlySqlTransaction

# A transaction that stalls holds a wallet's row, and with it every batch that asks about that wallet. Nothing here
# sits idle inside a transaction on purpose, so one that does belongs to a process that died or was frozen.
SETTINGS = {"idle_in_transaction_session_timeout": "5s"}


def _tell(settings: dict[str, str]) -> str:
    return "SELECT pg_backend_pid(), " + ", ".join(
        f"set_config('{name}', '{value}', false)" for name, value in settings.items()
    )


def _tell_transaction(settings: dict[str, str]) -> str:
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())


TELL = _tell(SETTINGS)
# Behind a pooler the next transaction may run in another session, so that each has to be told anew.
TELL_TRANSACTION = _tell_transaction(SETTINGS)


def bound_statements(*, seconds: float) -> None:
    """Sessions that this process opens from now on give up a statement after so many seconds, and within one second
    once this process is gone, which a server otherwise only sees when it has something to say."""
    global TELL, TELL_TRANSACTION
    bounded = {
        **SETTINGS,
        "statement_timeout": f"{round(seconds * 1000)}ms",
        "client_connection_check_interval": "1s",
    }
    TELL, TELL_TRANSACTION = _tell(bounded), _tell_transaction(bounded)


def tell(connection: psycopg.Connection[Any]) -> bool:
    """Tells a session that has just been opened, and returns whether it is pooled.

    Pooled: something like PgBouncer stands between, which answers with a process number that is not the server's.
    The next statement may then run in another session, where a prepared name is unknown or, worse, another
    statement's.
    """
    return _is_pooled(connection, connection.execute(TELL).fetchone())


async def tell_async(connection: psycopg.AsyncConnection[Any]) -> bool:
    """As `tell`."""
    cursor = await connection.execute(TELL)
    return _is_pooled(connection, await cursor.fetchone())


def _is_pooled(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], row: Any) -> bool:
    assert row is not None
    return bool(row[0] != connection.info.backend_pid)
