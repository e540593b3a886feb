"""Django's PostgreSQL, with the settings of a session in force (`accounts.shared.database_session`), poolers
included.
"""

from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.schema import DatabaseSchemaEditor

from accounts.shared import database_session

# Shorter than PostgreSQL's deadlock_timeout (1 s): of a migration and a payment that wait for each other, the migration
# gives way, and `manage.py migrate` tries it again. Nor does whoever queues behind it wait for long.
LOCK_WAIT_MS = 500
# Between two statements Django makes the state of all models, which takes a busy machine longer than others may idle.
IDLE_MAX_SECONDS = 60


class PoliteSchemaEditor(DatabaseSchemaEditor):
    """A migration in a transaction waits for a lock that long at most. Those without one take no lock that matters."""

    def __enter__(self) -> "PoliteSchemaEditor":
        super().__enter__()
        if self.atomic_migration:
            self.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            self.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_MAX_SECONDS}s'")
        return self


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = PoliteSchemaEditor

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        try:
            connection.autocommit = True
            self._is_pooled = database_session.tell(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def set_autocommit(
        self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False
    ) -> None:
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
        if not autocommit and self._is_pooled:
            with self.wrap_database_errors:
                self.connection.execute(database_session.TELL_TRANSACTION)
