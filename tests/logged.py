"""What a run of the tests logged, and the search of it for what no log may hold: a pytest plugin.

Looked through at the end of each test process are all `*.log` under its data folder and its temporary folders: those
of web processes, services, workers and engines, and of the test process itself. A find fails the run and is shown by
file, line and kind. What the sandbox prints in place of a telephone is no log line and is passed over.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from config.logging import JSONFormatter
from tests.engines import CONTROLLER

KEY = re.compile(r"hm-(?:admin-)?[0-9A-Za-z]{30,}|whsec_[0-9A-Za-z+/=]{20,}")
CODE = re.compile(r"(?<![0-9A-Za-z.,:/_[-])[0-9]{6}(?![0-9A-Za-z.,:/_-])")
CHECKPOINT = "LOG:  checkpoint"  # PostgreSQL's own, all figures
TELEPHONE = re.compile(r"SMS to \+\d+: [^\n]*\n(?:\n@\S* #\d{6}\n)?")
SAID = ("Hello!", '"Hel"', '\\"Hel\\"', 'lo!"', 'lo!\\"')  # prompts and answers of the harness
GIVEN = (  # secrets of stand-ins
    "sk-upstream", "sk-very-secret", "sk-acme-4f9a8b7c6d5e1234", "sk-chaos",
    "9f8b7c6d-1234-4abc-8def-0123456789ab", "00000000-secret-merchant-000000000000",
    "6B657920", "IrSecretKey0123456789", "WrongButStillSecret",
    "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", "361743011:hmO4DP2Ic7xw2QRYLhCMCmbai9KVhBmrRnKhFOA1",
)  # fmt: skip
MAX_SHOWN = 20


@dataclass
class Unsaid:
    """What must not be found: `secrets` and `said` as they are, `codes` where they stand alone in a text."""

    secrets: set[str] = field(default_factory=lambda: set(GIVEN))
    said: set[str] = field(default_factory=lambda: set(SAID))
    codes: set[str] = field(default_factory=set)

    def found_in(self, text: str) -> Iterator[tuple[int, str]]:
        """Line and kind of each find."""
        text = TELEPHONE.sub(lambda shown: "\n" * shown[0].count("\n"), text)
        for kind, words in (("a secret", self.secrets), ("a prompt or an answer", self.said)):
            for word in words:
                start = -1
                while (start := text.find(word, start + 1)) >= 0:
                    yield text.count("\n", 0, start) + 1, kind
        for key in KEY.finditer(text):
            yield text.count("\n", 0, key.start()) + 1, "a key"
        for number in CODE.finditer(text):
            if number[0] in self.codes:
                at = text.count("\n", 0, number.start())
                if number[0] in _texts_of(text.split("\n")[at]):
                    yield at + 1, "a one-time code"


def _texts_of(line: str) -> str:
    """What a line says, without its figures: tokens, costs and sizes are of six digits, too."""
    if CHECKPOINT in line:
        return ""
    try:
        told = json.loads(line)
    except ValueError:
        return line
    return " ".join(_words(told))


def _words(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        for name, value in told.items():
            if name not in ("request", "time"):
                yield from _words(value)
    elif isinstance(told, list):
        for value in told:
            yield from _words(value)


def search(folders: list[Path], unsaid: Unsaid) -> tuple[list[str], int]:
    """The finds, and how many bytes were looked through. Secrets that these folders' services made count, too."""
    for folder in folders:
        for secret in folder.rglob("secrets/*"):
            if secret.is_file():
                unsaid.secrets |= {part.split(":")[-1].strip() for part in secret.read_text().split(",")}
    unsaid.secrets -= {word for word in unsaid.secrets if len(word) < 8}
    found, size = [], 0
    for folder in folders:
        for file in sorted(folder.rglob("*.log")):
            if file.is_file():
                text = file.read_text(errors="replace")
                size += len(text)
                found += [f"{file.name}:{line}: {kind}" for line, kind in sorted(set(unsaid.found_in(text)))]
    return found, size


class Watch:
    """Of one test process: keeps what it logs, remembers the codes that it sends, and searches at its end."""

    def __init__(self, folder: Path) -> None:
        from accounts.sms import sending  # which needs Django to be set up

        self.unsaid = Unsaid()
        self.folder = folder
        self.handler = logging.FileHandler(folder / "tests.log", delay=True)
        self.handler.setFormatter(JSONFormatter())
        self._send_code = sending.send_code
        sending.send_code = self._remember

    def _remember(self, *, mobile: str, code: str, text: str) -> None:
        self.unsaid.codes.add(code)
        self._send_code(mobile=mobile, code=code, text=text)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        logging.getLogger().addHandler(self.handler)  # each time: a test may have set up logging anew

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.handler.flush()
        made: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        found, size = search([self.folder, made], self.unsaid)
        if output := getattr(session.config, "workeroutput", None):
            output["logged"] = found, size
        else:
            session.config.stash[VERDICT].add(found, size)


@dataclass
class Verdict:
    """Of the whole run: fails it, and says why."""

    found: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, found: list[str], size: int) -> None:
        self.found += found
        self.size += size

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.add(*getattr(node, "workeroutput", {}).get("logged", ([], 0)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.found:
            terminalreporter.section("logged, and must not be", red=True)
            for line in self.found[:MAX_SHOWN]:
                terminalreporter.line(line)
        terminalreporter.line(f"{self.size / 1e6:.1f} MB of logs searched, {len(self.found)} finds.")


VERDICT = pytest.StashKey[Verdict]()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[VERDICT] = verdict = Verdict()
        config.pluginmanager.register(verdict)
    if not CONTROLLER:
        config.pluginmanager.register(Watch(Path(settings.VAR_DIR)))
