"""Django's PostgreSQL, with the settings of a session in force (`accounts.shared.database_session`), poolers
included; and migrations that keep out of the way of a service that runs.
"""

from types import TracebackType
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from psycopg import ClientCursor

from accounts.shared import database_session

# Shorter than PostgreSQL's deadlock_timeout (1 s): of a migration and a payment that wait for each other, the migration
# gives way, and `manage.py migrate` tries it again. Nor does whoever queues behind it wait for long.
LOCK_WAIT_MS = 500


class PoliteSchemaEditor(DatabaseSchemaEditor):
    """A migration in a transaction waits for a lock that long at most, and holds it for as long as its statements take.

    They are gathered and sent at the end, or before anything else is asked of the database: between two of them Django
    makes the state of all models, during which everybody would wait for the tables. Migrations without a transaction
    take no lock that matters.
    """

    connection: "DatabaseWrapper"

    def __enter__(self) -> "PoliteSchemaEditor":
        self._gathered: list[str] = []
        if self.atomic_migration and not self.collect_sql:
            self.connection.gathering = self
        super().__enter__()
        return self

    def execute(self, sql: Any, params: Any = ()) -> None:
        if self.connection.gathering is not self:
            super().execute(sql, params)
            return
        text = str(sql)
        if params is not None:  # as Django's own does, which would send what is gathered
            self.connection.ensure_connection()
            text = ClientCursor(self.connection.connection).mogrify(text, params)
        self._gathered.append(text)

    def send(self) -> None:
        """What has been gathered, in its order."""
        gathered, self._gathered = self._gathered, []
        if not gathered:
            return
        self.connection.gathering = None
        try:
            super().execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}", None)
            for statement in gathered:
                super().execute(statement, None)
        finally:
            self.connection.gathering = self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None and self.connection.gathering is self:
                for statement in self.deferred_sql:
                    self.execute(statement, None)
                self.deferred_sql = []
                self.send()
        except BaseException as error:
            exc_type, exc_value, traceback = type(error), error, error.__traceback__
            raise
        finally:
            self.connection.gathering = None
            super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = PoliteSchemaEditor
    gathering: PoliteSchemaEditor | None = None

    def _cursor(self, name: str | None = None) -> Any:
        if self.gathering is not None:
            self.gathering.send()
        return super()._cursor(name)  # type: ignore[misc]  # which the stubs do not know

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
