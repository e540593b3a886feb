"""The embedded database as it was at any moment: base backups, and the write-ahead log received as it is written.

`WAL_ARCHIVE/base/` holds whole copies of the cluster, each named by the time at which it was complete (UTC),
`WAL_ARCHIVE/wal/` every change since. deploy/README.md, Backups, is the manual.
"""

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from django.conf import settings

from config import data_folder, embedded
from config.backups import BackupError
from config.supervisor import Child, last_lines

SLOT = "archive"
NAME = "%Y%m%d-%H%M%S"
LOST = """SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
    WHERE slot_name = %s AND wal_status = 'lost'"""
START = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)", re.M)
TELLING = re.compile("FATAL:  (?!the database system)|PANIC|ERROR|last completed transaction")
LOOK_SECONDS = 0.2


def receiver(archive: Path) -> Child:
    """Streams the log of the running server into the archive. Raises BackupError, OSError."""
    folder = archive / "wal"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with psycopg.connect(settings.DATABASE_URL, connect_timeout=5, autocommit=True) as connection:
        connection.execute(LOST, [SLOT])
    receive = [_tool("pg_receivewal"), *_door(), f"--slot={SLOT}"]
    _run(*receive, "--create-slot", "--if-not-exists")
    argv = [*receive, "--synchronous", f"--directory={folder}"]
    return Child(name="receiver", argv=argv, is_vital=False)


def is_received() -> bool:
    """Whether the log of the running server is being received. Raises psycopg.Error."""
    with psycopg.connect(settings.DATABASE_URL, connect_timeout=5, autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", [SLOT])
        return found.fetchone() is not None


def copy_base(*, keep: int | None = None) -> Path:
    """Writes a base backup beside the running service, reads it back, and returns its folder.

    With `keep`, so many of the newest stay, and the log from the oldest of them on. Raises BackupError, OSError.
    """
    if not _is_embedded():
        raise BackupError(
            "--base is for the embedded PostgreSQL. For one of your own, see the manual, Backups."
        )
    if settings.WAL_ARCHIVE is None:
        raise BackupError(
            "--base needs WAL_ARCHIVE, a folder on another disk, and a service that runs with it."
        )
    bases: Path = settings.WAL_ARCHIVE / "base"
    bases.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = bases / "part"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _run(_tool("pg_basebackup"), *_door(), "--checkpoint=fast", f"--pgdata={draft}")
        _run(_tool("pg_verifybackup"), "--exit-on-error", "--quiet", str(draft))
        base = draft.rename(bases / f"{datetime.now(UTC):{NAME}}")
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if keep is not None:
        _forget(settings.WAL_ARCHIVE, keep=keep)
    return base


def _forget(archive: Path, *, keep: int) -> None:
    bases = _bases(archive)
    oldest = bases[-keep:][0]
    for base in bases[:-keep]:
        shutil.rmtree(base)
    label = START.search((oldest / "backup_label").read_text())
    assert label is not None
    _run(_tool("pg_archivecleanup"), str(archive / "wal"), label[1])


@contextlib.contextmanager
def restored(archive: Path, *, until: datetime | None) -> Iterator[None]:
    """Brings the cluster back into a fresh data folder as it was at `until`, or at the last change that was received.

    It can be used for the length of the block. Raises BackupError, Unavailable, EngineError.
    """
    data = settings.VAR_DIR / "postgres"
    with data_folder.held(settings.VAR_DIR):
        if not _is_embedded():
            raise BackupError(
                "A folder is restored into the embedded PostgreSQL alone: leave DATABASE_URL out. "
                "For a server of your own, see the manual, Backups."
            )
        if data.exists():
            raise BackupError(f"{data} is there already. Choose a fresh HAMIRAN_VAR, with the secrets in it.")
        _copy(_base_before(archive, until), data)
        is_whole = False
        try:
            usual = _recover_from(archive / "wal", data=data, until=until)
            with embedded.postgres_running(settings.VAR_DIR, is_awaited=False) as server:
                _await_promotion(server)
                (data / "postgresql.auto.conf").write_text(usual)
                is_whole = True
                yield
        finally:
            if not is_whole:
                shutil.rmtree(data)


def _base_before(archive: Path, until: datetime | None) -> Path:
    bases = _bases(archive)
    fitting = [base for base in bases if until is None or base_time(base) <= until]
    if not fitting:
        since = f"The first is of {bases[0].name} (UTC)." if bases else "There is none at all."
        raise BackupError(f"{archive / 'base'} holds no base backup from before that moment. {since}")
    return fitting[-1]


def _bases(archive: Path) -> list[Path]:
    return sorted(base for base in (archive / "base").glob("*-*") if base.is_dir())


def newest_base(archive: Path) -> Path | None:
    return next(iter(reversed(_bases(archive))), None)


def base_time(base: Path) -> datetime:
    """When it was complete."""
    return datetime.strptime(base.name, NAME).replace(tzinfo=UTC)


def _copy(base: Path, data: Path) -> None:
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(base, draft, symlinks=True)
    draft.chmod(0o700)
    draft.rename(data)


def _recover_from(wal: Path, *, data: Path, until: datetime | None) -> str:
    """Tells the server to replay the log, and returns what its settings were."""
    conf = data / "postgresql.auto.conf"
    usual = conf.read_text()
    # The last file is still a .partial one. The archive is given by a link: a path may hold what a shell would read.
    link = data / "received"
    link.symlink_to(wal.resolve())
    fetch = 'f="received/%f"; test -f "$f" || f="$f.partial"; test -f "$f" && exec cp "$f" "%p"'
    lines = [f"restore_command = '{fetch}'", "recovery_target_action = 'promote'"]
    if until is not None:
        lines.append(f"recovery_target_time = '{until.astimezone(UTC).isoformat(sep=' ')}'")
    conf.write_text("\n".join([usual, *lines, ""]))
    (data / "recovery.signal").touch()
    return usual


def _await_promotion(server: "subprocess.Popen[bytes]") -> None:
    while True:
        if server.poll() is not None:
            said = [
                line
                for line in last_lines(settings.VAR_DIR / "logs" / "postgres.log")
                if TELLING.search(line)
            ]
            raise BackupError(
                "The log could not be replayed up to that moment. Where nothing was written after it, leave --until "
                "out. PostgreSQL said:\n" + "\n".join(said)
            )
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(settings.DATABASE_URL, connect_timeout=5) as connection,
        ):
            if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                (settings.VAR_DIR / "postgres" / "received").unlink()
                return
        time.sleep(LOOK_SECONDS)


def _is_embedded() -> bool:
    return embedded.database_url(settings.VAR_DIR) == settings.DATABASE_URL


def _door() -> list[str]:
    return [f"--host={embedded.socket_dir(settings.VAR_DIR)}", "--username=hamiran", "--no-password"]


def _tool(name: str) -> str:
    return str(embedded.postgres_binaries() / name)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise BackupError(f"{Path(command[0]).name} failed:\n{done.stderr.strip()}")
