"""A backup made beside a running service with money in it is brought back elsewhere, whole or not at all."""

import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from config import embedded
from tests.config.service import started
from tests.live import ROOT

pytestmark = pytest.mark.slow

MOBILE = "09120000021"


@dataclass
class Rehearsal:
    """`var_dir`: where the service ran. `report`: what the customer had when `backup` was made."""

    var_dir: Path
    backup: Path
    report: dict[str, Any]
    refused_while_running: str


def manage(var_dir: Path, *arguments: str, **given: str) -> "subprocess.CompletedProcess[str]":
    env = {
        name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}
    } | given
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env={**env, "HAMIRAN_VAR": str(var_dir)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def answer(var_dir: Path, *arguments: str) -> dict[str, Any]:
    done = manage(var_dir, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def rehearsal(copied: Callable[[], Path]) -> Rehearsal:
    var_dir = copied()
    with started(var_dir) as service:
        key = answer(var_dir, "issue_key", "--mobile", MOBILE, "--credit-toman", "5000")["key"]
        asked = httpx.post(
            f"http://127.0.0.1:{service.port}/v1/chat/completions",
            json={
                "model": "gemini-3.1-flash-lite-preview",
                "messages": [{"role": "user", "content": "Hello!"}],
            },
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert asked.status_code == 200, asked.text
        backup = Path(answer(var_dir, "backup")["file"])
        made = Rehearsal(
            var_dir=var_dir,
            backup=backup,
            report=answer(var_dir, "wallet_report", "--mobile", MOBILE),
            refused_while_running=manage(var_dir, "restore", str(backup), "--overwrite").stderr,
        )
        service.process.send_signal(signal.SIGINT)
        service.process.communicate(timeout=60)
    return made


@dataclass
class Restored:
    """`report` of what was brought back into `var_dir`."""

    var_dir: Path
    report: dict[str, Any]


@pytest.fixture(scope="module")
def restored(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """A fresh data folder, but for the secrets, which are kept apart from the backup; then brought back."""
    var_dir = tmp_path_factory.mktemp("restored")
    shutil.copytree(rehearsal.var_dir / "secrets", var_dir / "secrets")
    return Restored(var_dir, answer(var_dir, "restore", str(rehearsal.backup)))


@pytest.fixture
def elsewhere(restored: Restored, tmp_path: Path) -> Path:
    """A copy of it."""
    passing = shutil.ignore_patterns("run", "logs")
    return Path(shutil.copytree(restored.var_dir, tmp_path / "var", ignore=passing))


@pytest.mark.timeout(300)
def test_money_journal_and_guards_come_back(
    rehearsal: Rehearsal, restored: Restored, elsewhere: Path
) -> None:
    assert rehearsal.report["usage_records"] == 1
    said = restored.report
    assert (said["ok"], said["broken"], said["missing"], said["before"]) == (True, [], [], None)
    with embedded.postgres_running(elsewhere):
        assert answer(elsewhere, "wallet_report", "--mobile", MOBILE) == rehearsal.report
        assert answer(elsewhere, "check_ledger")["ok"]
        with psycopg.connect(embedded.database_url(elsewhere)) as database:
            known = database.execute(
                "SELECT FROM pg_stats WHERE tablename = 'wallet_journalentry'"
            ).fetchall()
            assert known, "the planner knows nothing of the journal"
        with (
            psycopg.connect(embedded.database_url(elsewhere)) as database,
            pytest.raises(psycopg.DatabaseError, match="append-only"),
        ):
            database.execute("UPDATE wallet_journalentry SET amount_micro = 0")
        shown = manage(elsewhere, "shell", "--no-imports", "-c", SHOW)
        assert shown.stdout.strip() == "5s", shown.stderr


SHOW = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW idle_in_transaction_session_timeout")
    print(cursor.fetchone()[0])
"""


def test_a_backup_is_its_owners_alone(rehearsal: Rehearsal) -> None:
    assert stat.S_IMODE(rehearsal.backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(rehearsal.backup.parent.stat().st_mode) == 0o700


def test_nothing_is_restored_below_a_running_service(rehearsal: Rehearsal) -> None:
    assert "already running" in rehearsal.refused_while_running


@pytest.mark.proof
def test_accounts_are_overwritten_only_when_told_so_and_kept_even_then(
    rehearsal: Rehearsal, elsewhere: Path
) -> None:
    refused = manage(elsewhere, "restore", str(rehearsal.backup))
    assert refused.returncode == 1
    assert "holds accounts" in refused.stderr
    replaced = answer(elsewhere, "restore", str(rehearsal.backup), "--overwrite")
    assert replaced["ok"]
    with Path(replaced["before"]).open("rb") as before:
        assert before.read(5) == b"PGDMP"


@pytest.mark.proof
def test_a_damaged_backup_leaves_what_is_there(rehearsal: Rehearsal, elsewhere: Path) -> None:
    damaged = elsewhere / "damaged.dump"
    damaged.write_bytes(rehearsal.backup.read_bytes()[:-100])
    refused = manage(elsewhere, "restore", str(damaged), "--overwrite")
    assert refused.returncode == 1
    assert "pg_restore failed" in refused.stderr
    with embedded.postgres_running(elsewhere):
        assert answer(elsewhere, "wallet_report", "--mobile", MOBILE) == rehearsal.report


@pytest.mark.proof
def test_a_database_elsewhere_is_restored_once_nobody_else_uses_it(
    rehearsal: Rehearsal, elsewhere: Path
) -> None:
    name = f"restored_{secrets.token_hex(4)}"
    url = settings.DATABASE_URL.replace("/hamiran?", f"/{name}?")
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(url):
        refused = manage(elsewhere, "restore", str(rehearsal.backup), DATABASE_URL=url)
        assert "1 other connections use this database" in refused.stderr
    restored = manage(elsewhere, "restore", str(rehearsal.backup), DATABASE_URL=url)
    assert restored.returncode == 0, restored.stderr
    report = manage(elsewhere, "wallet_report", "--mobile", MOBILE, "--json", DATABASE_URL=url)
    assert json.loads(report.stdout) == rehearsal.report


@pytest.mark.proof
def test_secrets_that_did_not_come_along_are_named(rehearsal: Rehearsal, tmp_path: Path) -> None:
    restored = answer(tmp_path, "restore", str(rehearsal.backup))
    assert restored["missing"] == [
        "FIELD_KEYS does not hold the key of upstream sandbox: it cannot be called."
    ]


def test_there_is_nothing_to_back_up_before_the_first_start(tmp_path: Path) -> None:
    refused = manage(tmp_path, "backup")
    assert refused.returncode == 1
    assert "nothing to back up" in refused.stderr
