"""Django's PostgreSQL, with the settings of a session in force (`accounts.shared.database_session`), poolers
included.
"""

from typing import Any

from django.db.backends.postgresql import base

from accounts.shared import database_session


class DatabaseWrapper(base.DatabaseWrapper):
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
