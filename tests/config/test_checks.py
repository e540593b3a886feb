"""What is looked at before a commit is what `make check` looks at, and files are as editors are told to write them."""

import subprocess

import pytest
import yaml

from tests.live import ROOT


def test_each_hook_is_a_line_of_make_check() -> None:
    dry_run = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/dev", "check"], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    hooks = [
        hook["entry"]
        for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repository["hooks"]
    ]
    checks = [line for line in dry_run.stdout.splitlines() if line.startswith(".venv/bin/")]
    assert sorted(hooks) == sorted(checks)


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no checkout")
    return listed.stdout.rstrip("\0").split("\0")


@pytest.mark.parametrize("pattern", ["*.py", "*.html", "*.css", "*.js", "*.toml"])
def test_files_are_as_editorconfig_says(pattern: str) -> None:
    texts = {path: (ROOT / path).read_bytes().decode() for path in tracked(pattern)}
    assert texts
    assert [path for path, text in texts.items() if not is_tidy(text)] == []


def is_tidy(text: str) -> bool:
    lines = text.split("\n")
    ends_with_one_newline = not text or (text.endswith("\n") and not text.endswith("\n\n"))
    has_bare_lines = all(line == line.rstrip() and not line.startswith("\t") for line in lines)
    return ends_with_one_newline and has_bare_lines
