"""A release of a small repository: its files, what they say, and that they are made again to the byte."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy import release

PACKAGE = "django==5.2.9 \\\n    --hash=sha256:" + "a" * 64 + " \\\n    --hash=sha256:" + "b" * 64 + "\n"
FOR_WINDOWS = "tzdata==2026.1 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "c" * 64 + "\n"


def git(root: Path, *arguments: str) -> None:
    name = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", "-C", str(root), *name, *arguments], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "hamiran"\nversion = "1.2.3"\n')
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-11-30)\n\n- Something.\n")
    (root / "requirements.txt").write_text(PACKAGE + FOR_WINDOWS)
    git(root, "init", "-q")
    commit(root)
    return root


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "Something")


def test_the_same_commit_makes_the_same_bytes(root: Path, tmp_path: Path) -> None:
    once = release.make("HEAD", tmp_path / "once", key=None, root=root)
    again = release.make("HEAD", tmp_path / "again", key=None, root=root)
    assert [file.name for file in once] == [
        "hamiran-1.2.3.tar.gz",
        "hamiran-1.2.3.cdx.json",
        "hamiran-1.2.3.sha256",
    ]
    assert [file.read_bytes() for file in once] == [file.read_bytes() for file in again]


def test_the_archive_holds_what_is_committed_and_the_checksums_are_true(root: Path, tmp_path: Path) -> None:
    (root / "not-committed").touch()
    archive, parts, sums = release.make("HEAD", tmp_path / "out", key=None, root=root)
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as files:
        assert sorted(files.getnames()) == [
            "hamiran-1.2.3",
            "hamiran-1.2.3/CHANGELOG.md",
            "hamiran-1.2.3/pyproject.toml",
            "hamiran-1.2.3/requirements.txt",
        ]
    assert sums.read_text() == "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (archive, parts)
    )


def test_the_list_of_parts_names_every_locked_package_with_its_checksums(root: Path, tmp_path: Path) -> None:
    _archive, parts, _sums = release.make("HEAD", tmp_path / "out", key=None, root=root)
    bill = json.loads(parts.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    found = {each["purl"]: [part["content"] for part in each["hashes"]] for each in bill["components"]}
    assert found == {
        "pkg:pypi/django@5.2.9": ["a" * 64, "b" * 64],
        "pkg:pypi/tzdata@2026.1": ["c" * 64],
    }


def test_our_own_lock_is_read_whole() -> None:
    lock = (release.ROOT / "requirements.txt").read_text()
    entries = re.findall(r"^[a-z]", lock, re.MULTILINE)
    assert len(release.LOCKED.findall(lock.replace(" \\\n    ", " "))) == len(entries)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
def test_a_signature_is_what_openssh_verifies_and_a_changed_sum_is_not(root: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    *_files, sums, signature = release.make("HEAD", tmp_path / "out", key=key, root=root)
    signers = tmp_path / "signers"
    signers.write_text(f"releases@example.com {key.with_suffix('.pub').read_text()}")
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "releases@example.com"]
    verify += ["-n", release.NAMESPACE, "-s", str(signature)]
    assert not subprocess.run(verify, input=sums.read_bytes(), capture_output=True, check=False).returncode
    changed = b"0" + sums.read_bytes()
    assert subprocess.run(verify, input=changed, capture_output=True, check=False).returncode


def test_changes_without_a_version_are_no_release(root: Path, tmp_path: Path) -> None:
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- More.\n\n## 1.2.3\n")
    commit(root)
    with pytest.raises(release.ReleaseError, match=r"pyproject\.toml says 1\.2\.3, and .* with Unreleased"):
        release.make("HEAD", tmp_path / "out", key=None, root=root)


def test_a_commit_that_is_not_there_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(release.ReleaseError, match="git -C"):
        release.make("nowhere", tmp_path / "out", key=None, root=root)
