"""The manual's settings table names every variable of the environment that the service reads."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "deploy" / "README.md").read_text()
READERS = frozenset({"envbool", "envchoice", "envint", "envlist", "envsecret", "envstr"})


def _read_variables() -> Iterator[tuple[str, str]]:
    """Each variable with the reader that reads it."""
    for path in sorted((ROOT / "config").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=reader), args=[ast.Constant(value=str(name)), *_]):
                    if reader in READERS:
                        yield name, reader


def _listed_variables() -> dict[str, str]:
    """Each variable of the table with what follows its name: `*` where it may be a file."""
    _before, _heading, table = MANUAL.partition("\n## Settings\n")
    names = [
        line.split("|")[1] for line in table.partition("\n## ")[0].splitlines() if line.startswith("| `")
    ]
    return dict(re.findall(r"`([A-Z_]+)`(\*?)", " ".join(names)))


READ = sorted(set(_read_variables()))
LISTED = _listed_variables()


@pytest.mark.parametrize(("name", "reader"), READ)
def test_the_manual_lists_every_variable_and_stars_those_that_can_be_files(name: str, reader: str) -> None:
    assert name in LISTED, f"deploy/README.md, Settings: {name} is missing"
    assert (LISTED[name] == "*") == (reader == "envsecret"), f"deploy/README.md, Settings: {name}, the star"


def test_the_manual_lists_no_variable_that_nothing_reads() -> None:
    assert set(LISTED) <= {name for name, _reader in READ}
