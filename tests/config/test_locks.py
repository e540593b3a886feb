"""The lock files hold everything that is installed from them, so pip has nothing to resolve."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.live import ROOT

LOCKS = (
    "requirements.txt", "requirements-dev.txt", "requirements-tracing.txt", "bench/requirements-litellm.txt",
)  # fmt: skip
LINE = re.compile(r"[a-z0-9][a-z0-9.-]*==\S+( ; .+)?( --hash=sha256:[0-9a-f]{64})+")


def entries(lock: str) -> list[str]:
    """The packages of a lock file, each as one line with its hashes."""
    text = (ROOT / lock).read_text().replace("\\\n    ", "")
    return [line for line in text.splitlines() if not line.startswith("#")]


def locked(*locks: str) -> dict[str, str]:
    """Versions by name, of those packages that are meant for this machine."""
    wanted = [Requirement(entry.partition(" --hash")[0]) for lock in locks for entry in entries(lock)]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in wanted
        if each.marker is None or each.marker.evaluate()
    }


def asked_for(*, dev: bool) -> list[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [*pyproject["project"]["dependencies"], *(pyproject["dependency-groups"]["dev"] if dev else [])]


def closure(wanted: Iterable[str], versions: dict[str, str]) -> set[str]:
    """All packages that these requirements need, as what is installed says; each has to be locked, and to fit."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(each) for each in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{requirement} is not locked"
        assert requirement.specifier.contains(versions[name], prereleases=True), f"{requirement} is not met"
        for extra in {"", *requirement.extras}:
            if (name, extra) not in found:
                found.add((name, extra))
                further = [Requirement(each) for each in metadata.requires(name) or ()]
                waiting += [
                    each
                    for each in further
                    if (each.marker.evaluate({"extra": extra}) if each.marker else not extra)
                ]
    return {name for name, _extra in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_one_pinned_and_hashed_package(lock: str) -> None:
    lines = entries(lock)
    names = [line.partition("==")[0] for line in lines]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert sorted(set(names)) == sorted(names)


def test_the_development_lock_holds_only_what_the_runtime_lock_does_not() -> None:
    names = [{entry.partition("==")[0] for entry in entries(lock)} for lock in LOCKS[:2]]
    assert names[0] & names[1] == set()


@pytest.mark.parametrize(("locks", "dev"), [(LOCKS[:1], False), (LOCKS[:2], True)])
def test_a_lock_holds_all_that_is_needed_and_nothing_else(locks: tuple[str, ...], dev: bool) -> None:
    versions = locked(*locks)
    assert closure(asked_for(dev=dev), versions) == set(versions)


def test_what_is_installed_is_what_is_locked() -> None:
    versions = {name: Version(version) for name, version in locked(*LOCKS[:2]).items()}
    assert {name: Version(metadata.version(name)) for name in versions} == versions


# --- what `make` does with a lock file ------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, *requires: str) -> str:
    """Makes an empty package there and returns its line for a lock file."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": "\n".join(
            ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Provides-Extra: more"]
            + [f"Requires-Dist: {each}" for each in requires]
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(text.encode())},{len(text)}\n" for path, text in files.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(inside, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _digest(content: bytes) -> str:
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def install(project: Path) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", project)
    environment = {
        "PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project), "PIP_CONFIG_FILE": os.devnull,
    }  # fmt: skip
    return subprocess.run(
        ["make", ".venv/runtime", f"PYTHON={sys.executable}"],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.proof
def test_an_extra_of_a_locked_package_does_not_send_pip_after_a_newer_release(tmp_path: Path) -> None:
    lock = wheel(tmp_path, "asks", "1", "given[more]>=1") + wheel(tmp_path, "given", "1")
    (tmp_path / "requirements.txt").write_text(lock)
    wheel(tmp_path, "given", "2")
    answer = install(tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (tmp_path / ".venv" / "runtime").exists()
    assert list((tmp_path / ".venv" / "lib").glob("*/site-packages/given-1.dist-info"))


@pytest.mark.proof
def test_a_lock_in_which_something_is_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(wheel(tmp_path, "asks", "1", "given>=1"))
    answer = install(tmp_path)
    assert answer.returncode != 0
    assert "asks 1 requires given, which is not installed." in answer.stdout
    assert not (tmp_path / ".venv" / "runtime").exists()
