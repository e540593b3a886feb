"""After a migration no table is without the statistics that its queries are planned by."""

import pytest
from django.core.management import call_command
from django.db import connection

KNOWN = "SELECT count(*) FROM pg_stats WHERE tablename = 'brand_new'"


def known_columns() -> int:
    with connection.cursor() as cursor:
        cursor.execute(KNOWN)
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
def test_a_table_without_statistics_gets_them() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE brand_new AS SELECT n, n % 3 AS third FROM generate_series(1, 100) AS n")
    assert known_columns() == 0
    call_command("migrate", verbosity=0)
    assert known_columns() == 2


@pytest.mark.django_db
def test_a_plan_changes_nothing() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE brand_new AS SELECT n FROM generate_series(1, 100) AS n")
    call_command("migrate", plan=True, verbosity=0)
    assert known_columns() == 0


def test_all_tables_of_a_new_database_have_been_looked_at(committed_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_stat_user_tables WHERE last_analyze IS NULL AND last_autoanalyze IS NULL"
        )
        assert cursor.fetchall() == []
