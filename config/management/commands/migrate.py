"""Django's migrate, then usage's months ahead, and statistics for tables without any (new ones, all of a restore)."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from proxy.usage import partitions

# Without them the planner guesses, until autovacuum has come by: a settlement then takes twice the time.
WITHOUT_STATISTICS = """
SELECT quote_ident(schemaname) || '.' || quote_ident(relname) FROM pg_stat_user_tables
WHERE last_analyze IS NULL AND last_autoanalyze IS NULL AND schemaname = current_schema() ORDER BY relname
"""


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["plan"] or options["check_unapplied"]:
            return
        partitions.make_ahead()
        with connections[options["database"]].cursor() as cursor:
            cursor.execute(WITHOUT_STATISTICS)
            if tables := [name for (name,) in cursor.fetchall()]:
                cursor.execute(f"ANALYZE {', '.join(tables)}")
