"""`make audit` says so where it could audit nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile with a lock file and an environment that counts as installed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("django==5.2.0 --hash=sha256:0\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for stamp in ("dev", "runtime"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def audit(project: Path, *, status: int) -> subprocess.CompletedProcess[str]:
    """Runs it with an auditor that ends like this."""
    tool = project / ".venv" / "bin" / "pip-audit"
    tool.write_text(f'#!/bin/sh\necho "asked: $*"\nexit {status}\n')
    tool.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        ["make", "audit"], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_a_package_that_could_not_be_looked_up_fails_the_audit(project: Path) -> None:
    clean, not_audited = audit(project, status=0), audit(project, status=1)
    assert clean.returncode == 0
    assert "--strict" in clean.stdout  # else what cannot be looked up is passed over, with status 0
    assert not_audited.returncode != 0
    assert "Not audited, or not clean" in not_audited.stdout


def test_a_lock_file_without_packages_fails_the_audit(project: Path) -> None:
    (project / "requirements.txt").write_text("# nothing\n")
    (project / ".venv" / "dev").touch()  # installed since
    answer = audit(project, status=0)
    assert answer.returncode != 0
    assert "nothing was audited" in answer.stdout
