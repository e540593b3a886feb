"""The documents: short where they promise to be, and every file, heading and command that they name is there."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])
NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]
APPS = ["accounts", "config", "keys", "proxy", "wallet"]
SHORT_BYTES = 10_000

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FOLDERS = (*APPS, "bench", "deploy", "findings", "templates", "tests")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`")
DECISIONS = "\n## Decisions\n"


def read(name: str) -> str:
    return (ROOT / name).read_text()


def anchors(name: str) -> set[str]:
    """Where links into a document can lead, as GitHub names it."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(CODE_BLOCK.sub("", read(name))):
        words = LINK.sub("]", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def today(name: str) -> str:
    """A document without what was decided or changed once, which may name what has gone since."""
    return "" if name == "CHANGELOG.md" else read(name).partition(DECISIONS)[0]


def decisions(app: str) -> str:
    return read(f"{app}/README.md").partition(DECISIONS)[2]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_everybody_reads_first_is_short(name: str) -> None:
    assert len((ROOT / name).read_bytes()) <= SHORT_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_links_between_the_documents_lead_somewhere(name: str) -> None:
    for link in LINK.findall(CODE_BLOCK.sub("", read(name))):
        if "://" in link:
            continue
        path, _hash, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), f"{name}: {link}"


@pytest.mark.parametrize("name", NAMES)
def test_every_path_that_the_documents_name_exists(name: str) -> None:
    assert [path for path in PATH.findall(today(name)) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_the_documents_name_exists(name: str) -> None:
    text = today(name)
    targets = set(re.findall(r"^([\w-]+):.*##", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands())


@pytest.mark.parametrize("app", APPS)
def test_each_app_says_where_its_rules_live(app: str) -> None:
    rules, heading, _decisions = read(f"{app}/README.md").partition(DECISIONS)
    rows = [line for line in rules.splitlines() if line.startswith("| ") and PATH.search(line)]
    assert heading
    assert "| the rule | the place |" in rules
    assert sum(f"`{app}/" in row for row in rows) >= len(rows) / 2 > 2


@pytest.mark.parametrize("app", APPS)
def test_decisions_are_dated_newest_first_and_say_why(app: str) -> None:
    dates = re.findall(r"^### (\d{4}-\d\d-\d\d)", decisions(app), re.MULTILINE)
    assert dates
    assert all(newer >= older for newer, older in pairwise(dates))
    for decision in decisions(app).split("\n#### ")[1:]:
        parts = re.findall(r"^- \*\*(\w+):\*\* ", decision, re.MULTILINE)
        assert parts in (["Context", "Decision"], ["Context", "Decision", "Figures"]), decision
