"""The embedded engines: where they live, and what they recover from."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from config import embedded
from tests.config.processes import eventually, family, gone, names

pytestmark = pytest.mark.slow


def test_sockets_live_in_the_data_folder() -> None:
    assert embedded.socket_dir(Path("/srv/hamiran")) == Path("/srv/hamiran/run")


def test_a_data_folder_too_deep_for_a_socket_gets_a_short_one_of_its_own() -> None:
    deep, other = Path("/srv") / ("d" * 120), Path("/srv") / ("e" * 120)
    assert len(str(embedded.socket_dir(deep) / ".s.PGSQL.5432.lock")) <= embedded.SOCKET_PATH_MAX
    assert embedded.socket_dir(deep) == embedded.socket_dir(deep)
    assert embedded.socket_dir(deep) != embedded.socket_dir(other)


def test_database_urls_become_django_settings() -> None:
    found = embedded.django_database("postgresql://u:p%40ss@db.example:6432/h?sslmode=require")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example", "6432", "h")
    assert (found["USER"], found["PASSWORD"]) == ("u", "p@ss")
    assert found["OPTIONS"]["sslmode"] == "require"


def test_a_database_url_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL cannot be read"):
        embedded.django_database("mysql:/nowhere")


def test_engines_start_over_an_interrupted_first_start_and_a_trace_of_a_dead_server(tmp_path: Path) -> None:
    """Deep enough that the sockets move, after an initdb that was killed half-way."""
    var_dir = tmp_path / ("d" * 120)
    (var_dir / "postgres.new" / "base").mkdir(parents=True)
    (var_dir / "postgres.new" / "PG_VERSION").write_text("1")
    url = embedded.database_url(var_dir)
    with embedded.running(var_dir):
        assert scalar(url, "SELECT current_database()") == "hamiran"
    # A server that was killed leaves its number behind; after a reboot any process may carry it, here this one.
    (var_dir / "postgres" / "postmaster.pid").write_text(
        f"{os.getpid()}\n{var_dir / 'postgres'}\n1\n5432\n\n\n"
    )
    with embedded.running(var_dir):
        assert scalar(url, "SELECT 1") == 1
        assert scalar(url, "SHOW checkpoint_timeout") == "15min"
    for left in embedded.socket_dir(var_dir).iterdir():
        left.unlink()
    embedded.socket_dir(var_dir).rmdir()


def scalar(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_engines_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Also when it is killed, and also for root, whose PostgreSQL changed its user namespace."""
    code = (
        "import sys, pathlib; from config import embedded\n"
        "with embedded.running(pathlib.Path(sys.argv[1])): print('up', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        engines = family(process)
        assert {"postgres", "valkey-server"} <= names(engines)
        process.send_signal(signal.SIGKILL)
        eventually(lambda: gone(engines))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to drop")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_root_without_user_namespaces_becomes_nobody_where_nobody_can_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "postgres").touch(mode=0o755)
        folder.chmod(mode)
        if mode == 0o755:
            assert embedded._not_root(folder / "data", folder) == ([], embedded.NOBODY)
        else:
            with pytest.raises(embedded.EngineError, match="set DATABASE_URL"):
                embedded._not_root(folder / "data", folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to drop")
def test_root_leaves_an_ordinary_users_data_to_that_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    assert embedded._not_root(tmp_path, tmp_path) == ([], 12345)
