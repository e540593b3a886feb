"""The search of all logs at the end of a run (tests/logged.py) finds what may not be there, and fails the run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keys import secret
from tests.live import ROOT
from tests.logged import Unsaid, search

CODE = "407351"
PLANTED = """
import logging

def test_it_passes():
    logging.getLogger("planted").error("Bearer %s", "whsec_" + "a" * 32)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Gone again before the search of this very run."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (f"ERROR: {secret.generate()} is no number", "a key"),
        (json.dumps({"message": "made", "key": secret.generate_admin()}), "a key"),
        (json.dumps({"reason": "wrong key: sk-upstream-secret"}), "a secret"),
        ("the pepper is a-pepper-of-this-installation", "a secret"),
        (json.dumps({"body": {"messages": [{"content": "Hello!"}]}}), "a prompt or an answer"),
        (json.dumps({"event": '{"delta":{"content":"Hel"}}'}), "a prompt or an answer"),
        (json.dumps({"message": f"sent {CODE} to +98912…"}), "a one-time code"),
        (json.dumps({"message": "sent", "told": [{"text": f"code {CODE}"}]}), "a one-time code"),
        (f"STATEMENT: SELECT '{CODE}'", "a one-time code"),
    ],
    ids=["key", "admin-key", "upstream-key", "pepper", "prompt", "answer", "code", "code-of-a-text", "code-of-sql"],
)  # fmt: skip
def test_what_no_log_may_hold_is_found_with_its_line(folder: Path, told: str, kind: str) -> None:
    (folder / "secrets").mkdir()
    (folder / "secrets" / "PEPPERS").write_text("1:a-pepper-of-this-installation")
    (folder / "logs").mkdir()
    (folder / "logs" / "web.log").write_text(f"one\n{told}\nthree\n")
    found, _size = search([folder], Unsaid(codes={CODE}))
    assert found == [f"web.log:2: {kind}"]


@pytest.mark.parametrize(
    "told",
    [
        json.dumps({"message": "completion", "tokens": int(CODE), "request": f"019{CODE}"}),
        f"2026-11-30 12:00:00.{CODE} UTC [{CODE}] LOG:  checkpoint complete: distance={CODE} kB",
        json.dumps({"message": "refused", "key": "hm-…"}),
        f"SMS to +989121234567: Hamiran code: {CODE}\n\n@127.0.0.1 #{CODE}",
    ],
)
def test_numbers_and_what_stands_for_a_telephone_are_no_finds(folder: Path, told: str) -> None:
    (folder / "web.log").write_text(told + "\n")
    assert search([folder], Unsaid(codes={CODE})) == ([], len(told) + 1)


@pytest.mark.slow
def test_a_run_that_logged_a_secret_fails_though_its_tests_pass(folder: Path) -> None:
    (folder / "test_planted.py").write_text(PLANTED)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "--rootdir", str(ROOT),
         "-c", "pyproject.toml", str(folder / "test_planted.py")],
        cwd=ROOT, env={**os.environ, "HAMIRAN_TEST_VAR": "yes", "HAMIRAN_VAR": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "tests.log:1: a key" in done.stdout
    assert done.returncode == 1
