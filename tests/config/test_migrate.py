"""After a migration no table is without the statistics that its queries are planned by."""

import contextlib

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import OperationalError, ProgrammingError, connection
from django.test.utils import CaptureQueriesContext

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


def test_a_migration_gives_way_to_work_and_is_tried_again(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, tries = connection.settings_dict, 0
    url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"

    def alter(*args: object, **options: object) -> None:
        nonlocal tries
        tries += 1
        with connection.schema_editor(atomic=True) as editor:
            if tries == 2:
                worker.commit()
            editor.execute("ALTER TABLE in_use ADD COLUMN more integer")

    monkeypatch.setattr(migrate.Command, "handle", alter)
    with psycopg.connect(url) as worker:
        worker.execute("CREATE TABLE in_use (one integer)")
        worker.commit()
        worker.execute("SELECT FROM in_use")
        call_command("migrate", verbosity=0)
        assert tries == 2
        assert worker.execute("SELECT more FROM in_use").fetchall() == []
        worker.execute("DROP TABLE in_use")


def test_a_migration_that_fails_by_itself_is_not_tried_again(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*args: object, **options: object) -> None:
        tries.append("one")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 1; SELECT pg_sleep(1)")

    tries: list[str] = []
    monkeypatch.setattr(migrate.Command, "handle", cancelled)
    try:
        with pytest.raises(OperationalError, match="statement timeout"):
            call_command("migrate", verbosity=0)
    finally:
        connection.close()
    assert tries == ["one"]


def test_statements_are_sent_together_and_before_anything_else_is_asked(committed_db: None) -> None:
    def columns() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('gathered') AND attnum > 0"
            )
            return sorted(name for (name,) in cursor.fetchall())

    with CaptureQueriesContext(connection) as sent, connection.schema_editor() as editor:
        editor.execute("CREATE TABLE gathered (one text DEFAULT %s)", ["50%"])
        assert [query["sql"] for query in sent.captured_queries] == ["BEGIN"]
        assert columns() == ["one"]
        editor.execute("ALTER TABLE gathered ADD COLUMN two integer")
        editor.deferred_sql.append("ALTER TABLE gathered ADD COLUMN three integer")
    assert columns() == ["one", "three", "two"]
    with contextlib.suppress(LookupError), connection.schema_editor() as editor:
        editor.execute("DROP TABLE gathered")
        raise LookupError
    with contextlib.suppress(ProgrammingError), connection.schema_editor() as editor:
        editor.execute("ALTER TABLE gathered ADD COLUMN four integer")
        editor.execute("ALTER TABLE nothing ADD COLUMN four integer")
    assert columns() == ["one", "three", "two"]
    with connection.schema_editor() as editor:
        editor.execute("DROP TABLE gathered", None)
    assert columns() == []
