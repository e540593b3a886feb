"""Django's migrate beside a service that runs, then usage's months ahead, and statistics for tables without any (new
ones, all of a restore).
"""

import random
import time
from typing import Any

import psycopg
from django.core.management.commands import migrate
from django.db import OperationalError, connections

from proxy.usage import partitions

# Without them the planner guesses, until autovacuum has come by: a settlement then takes twice the time.
WITHOUT_STATISTICS = """
SELECT quote_ident(schemaname) || '.' || quote_ident(relname) FROM pg_stat_user_tables
WHERE last_analyze IS NULL AND last_autoanalyze IS NULL AND schemaname = current_schema() ORDER BY relname
"""
TRIES, LONGEST_PAUSE_SECONDS = 60, 1.0
IN_THE_WAY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        self._migrate(*args, **options)
        if options["plan"] or options["check_unapplied"]:
            return
        partitions.make_ahead()
        with connections[options["database"]].cursor() as cursor:
            cursor.execute(WITHOUT_STATISTICS)
            if tables := [name for (name,) in cursor.fetchall()]:
                cursor.execute(f"ANALYZE {', '.join(tables)}")

    def _migrate(self, *args: Any, **options: Any) -> None:
        """Again from where it stood, while the service's work is in the way (config.postgresql.base: for how long)."""
        for tries_left in reversed(range(TRIES)):
            try:
                super().handle(*args, **options)
            except OperationalError as error:
                if not tries_left or not isinstance(error.__cause__, IN_THE_WAY):
                    raise
            else:
                return
            if options["verbosity"]:
                self.stdout.write("  Its tables are in use; it tries again.")
            time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))  # noqa: S311 - it guards nothing
