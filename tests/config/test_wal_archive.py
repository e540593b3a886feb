"""Which base backup a moment is restored from, what is kept, and what is refused; `make rehearse-restore` does it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config import embedded, wal_archive
from config.backups import BackupError

LABEL = "START WAL LOCATION: 0/2000028 (file 00000001000000000000000{})\nBACKUP METHOD: streamed\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number, name in enumerate(["20261128-120000", "20261129-120000", "20261130-120000"], 1):
        base = tmp_path / "archive" / "base" / name
        base.mkdir(parents=True)
        (base / "backup_label").write_text(LABEL.format(number))
    (tmp_path / "archive" / "base" / "part").mkdir()
    return tmp_path / "archive"


@pytest.mark.parametrize(
    ("until", "base"),
    [
        (None, "20261130-120000"),
        (datetime(2026, 12, 24, tzinfo=UTC), "20261130-120000"),
        (datetime(2026, 11, 30, 12, tzinfo=UTC), "20261130-120000"),
        (datetime(2026, 11, 30, 11, 59, tzinfo=UTC), "20261129-120000"),
        (datetime(2026, 11, 28, 12, tzinfo=UTC), "20261128-120000"),
    ],
)
def test_the_newest_base_of_before_is_the_one(archive: Path, until: datetime | None, base: str) -> None:
    assert wal_archive._base_before(archive, until).name == base


def test_a_moment_before_all_bases_is_refused_with_the_first(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="20261128-120000"):
        wal_archive._base_before(archive, datetime(2026, 11, 28, 11, tzinfo=UTC))
    with pytest.raises(BackupError, match="none at all"):
        wal_archive._base_before(tmp_path / "elsewhere", None)


@pytest.mark.parametrize(("keep", "kept"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_the_log_is_kept_from_the_oldest_base_that_is(
    archive: Path, monkeypatch: pytest.MonkeyPatch, keep: int, kept: int
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(wal_archive, "_run", lambda *command: ran.append(command[1:]))
    wal_archive._forget(archive, keep=keep)
    assert [base.name[6:8] for base in wal_archive._bases(archive)] == ["28", "29", "30"][-kept:]
    assert ran == [(str(archive / "wal"), f"00000001000000000000000{4 - kept}")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["restore", "{dump}", "--until", "2026-11-30T12:00:00Z"], "goes with the folder"),
        (["restore", "{archive}", "--until", "2026-11-30T12:00:00"], "say the time zone"),
        (["restore", "{archive}"], "leave DATABASE_URL out"),
        (["backup", "--keep", "2"], "goes with --base"),
        (["backup", "--base", "--keep", "0"], "from 1 on"),
        (["backup", "--base"], "embedded"),
    ],
)
def test_what_cannot_be_done_is_refused_and_says_why(
    archive: Path, tmp_path: Path, settings: Any, arguments: list[str], why: str
) -> None:
    settings.VAR_DIR, settings.DATABASE_URL = tmp_path / "var", "postgresql://elsewhere/hamiran"
    dump = tmp_path / "hamiran.dump"
    dump.touch()
    with pytest.raises(CommandError, match=why):
        call_command(*(each.format(dump=dump, archive=archive) for each in arguments))
    assert not (tmp_path / "var" / "postgres").exists()


def test_data_that_is_there_is_never_replaced(archive: Path, tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path / "var"
    settings.DATABASE_URL = embedded.database_url(settings.VAR_DIR)
    (tmp_path / "var" / "postgres").mkdir(parents=True)
    with pytest.raises(CommandError, match="is there already"):
        call_command("restore", str(archive))
