"""Backups of the database by PostgreSQL's own tools, and the way back; deploy/README.md, Backups, is the manual."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from config import data_folder, embedded

EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;\n"
OTHERS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
GOODBYE_SECONDS = 3.0


class BackupError(Exception):
    """Nothing was written or restored; the message says why and what to do."""


def make(folder: Path) -> Path:
    """Writes the database into a new dated file, readable by its owner alone, and returns it.

    Works beside the running service: the dump is one snapshot. Raises BackupError, Unavailable, EngineError.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(data_folder.held(settings.VAR_DIR))
        except data_folder.InUse:
            pass  # the service runs, and with it the engine
        else:
            stack.enter_context(_engine())
        if not _scalar("SELECT to_regclass('django_migrations') IS NOT NULL"):
            raise BackupError("The database is empty; there is nothing to back up.")
        return _dump(folder)


@contextlib.contextmanager
def restored(file: Path, *, overwrite: bool) -> Iterator[Path | None]:
    """Brings back the database of a backup, whole or not at all; it can be used for the length of the block.

    Yields the backup of what was there before, where `overwrite` let go of accounts. Raises BackupError, Unavailable,
    EngineError.
    """
    with data_folder.held(settings.VAR_DIR), _engine():
        _read(file)
        if others := _others():
            raise BackupError(
                f"{others} other connections use this database. Stop the service everywhere first, then restore."
            )
        before = None
        if _scalar("SELECT to_regclass('accounts_user') IS NOT NULL") and _scalar(
            "SELECT count(*) FROM accounts_user"
        ):
            if not overwrite:
                raise BackupError(
                    "This database holds accounts, and their money would be gone. Restore into a fresh HAMIRAN_VAR "
                    "or database, or say --overwrite (make restore FILE=… OVERWRITE=yes)."
                )
            before = _dump(settings.VAR_DIR / "backups")
        _load(file)
        yield before


def _dump(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"hamiran-{datetime.now(UTC):%Y%m%d-%H%M%S}.dump"
    draft = file.with_suffix(".part")  # what ends in .dump is whole
    try:
        draft.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise BackupError(f"{draft} is being written by another backup.") from None
    try:
        # Not by its standard output: such a file ends in bytes that nobody misses when they are cut off.
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}", database=True)
        _read(draft)
        draft.rename(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return file


def _read(file: Path) -> None:
    """Reads all of a backup, contents included, so that a damaged one is known before anything rests on it."""
    if not file.is_file():
        raise BackupError(f"There is no file {file}.")
    _run("pg_restore", "--file=/dev/null", str(file))


def _load(file: Path) -> None:
    """One transaction, committed once the file has been read to its end: a failure leaves what was there."""
    is_empty = not _scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    psql = _popen(
        "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-",
        database=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    failure = None
    with psql:
        assert psql.stdin is not None
        assert psql.stderr is not None
        try:
            psql.stdin.write(b"BEGIN;\n" + (b"" if is_empty else EMPTY.encode()))
            psql.stdin.flush()
            _run("pg_restore", "--no-owner", "--no-privileges", "--file=-", str(file), stdout=psql.stdin)
            psql.stdin.write(b"COMMIT;\n")
            psql.stdin.close()
        except (BackupError, BrokenPipeError) as error:  # the latter: psql has ended, and says why
            failure = error
            with contextlib.suppress(BrokenPipeError):
                psql.stdin.close()
        said = psql.stderr.read().decode(errors="replace").strip()
    if psql.returncode:
        raise BackupError(f"Nothing was changed, for the database refused the backup:\n{said}")
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    if embedded.database_url(settings.VAR_DIR) == settings.DATABASE_URL:
        with embedded.postgres_running(settings.VAR_DIR):
            yield
    else:
        yield


def _others() -> int:
    """How many other connections use the database; one that has just been closed is still listed for a moment."""
    until = time.monotonic() + GOODBYE_SECONDS
    with _connected() as connection:
        while (others := _value(connection, OTHERS)) and time.monotonic() < until:
            time.sleep(0.1)
    return int(others)


def _scalar(sql: str) -> Any:
    with _connected() as connection:
        return _value(connection, sql)


@contextlib.contextmanager
def _connected() -> Iterator[psycopg.Connection]:
    """Raises BackupError where PostgreSQL does not answer."""
    try:
        with psycopg.connect(settings.DATABASE_URL, connect_timeout=5, autocommit=True) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise BackupError(f"PostgreSQL does not answer: {error}") from None


def _value(connection: psycopg.Connection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


def _run(tool: str, *arguments: str, database: bool = False, stdout: Any = subprocess.DEVNULL) -> None:
    process = _popen(tool, *arguments, database=database, stdout=stdout, stderr=subprocess.PIPE)
    _out, said = process.communicate()
    if process.returncode:
        raise BackupError(f"{tool} failed:\n{said.decode(errors='replace').strip()}")


def _popen(tool: str, *arguments: str, database: bool = False, **streams: Any) -> "subprocess.Popen[bytes]":
    """Starts one of PostgreSQL's tools; the password goes by the environment, where other users cannot read it."""
    env = dict(os.environ)
    if database:
        parts: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(settings.DATABASE_URL)
        if password := parts.pop("password", None):
            env["PGPASSWORD"] = password
        arguments = (f"--dbname={psycopg.conninfo.make_conninfo(**parts)}", *arguments)
    return subprocess.Popen([_tool(tool), *arguments], env=env, **{"stdin": subprocess.DEVNULL, **streams})


def _tool(name: str) -> str:
    """The embedded engine's tool, or the one on PATH: whichever is of the server's own major version."""
    wanted = int(_scalar("SHOW server_version_num")) // 10_000
    found = [str(embedded.postgres_binaries() / name), shutil.which(name)]
    for path in filter(None, found):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if f"(PostgreSQL) {wanted}." in said:
            return path
    raise BackupError(
        f"The server is PostgreSQL {wanted}, and there is no {name} of this version: the embedded one is another, "
        f"and so is what PATH leads to. Install the client tools of PostgreSQL {wanted} and put them on PATH."
    )
