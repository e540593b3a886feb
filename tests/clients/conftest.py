"""Real, unmodified programs from npm and PyPI against a real web process; `make clients` installs and runs them.

Each runs in a home folder of its own, with what the page "Connect" tells its users, bounded in time and requests.
Nothing of theirs reaches the internet: their reports are switched off, and the proxy of their environment is nobody.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from proxy.dashboard.connect.programs import PROGRAMS, SHELL, Setting
from proxy.usage.models import UsageRecord
from tests.clients.scripted import COMPLETION, PROMPT, Answer, answer_to, stream_of, whole_of
from tests.fake_upstream import FakeUpstream, Script, respond, stream_events
from tests.live import ROOT, WebProcess, eventually, web_process
from tests.proxy.api import conftest as api
from tests.proxy.api.conftest import CREDIT, INPUT_PRICE, OUTPUT_PRICE, Caller, add_model, take_off_sale

caller, make_caller, upstream = api.caller, api.make_caller, api.upstream

INSTALLED = ROOT / "var" / "clients"
NPM = INSTALLED / "npm" / "node_modules"
CHAT_MODEL = "house/chat-1"  # whose upstream speaks chat alone, so that all else is translated
NATIVE_MODEL = "house/native-1"  # whose upstream speaks everything that agents speak
CONTEXT, MAX_OUTPUT = 200_000, 32_000
SECONDS = 90
MOST_REQUESTS = 25
QUIET = {
    "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLINE_SESSION_BACKEND_MODE": "local", "CONTINUE_CLI_ENABLE_TELEMETRY": "0",
    "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "AIDER_ANALYTICS": "false", "AIDER_CHECK_UPDATE": "false", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1", "LANGSMITH_TRACING": "false", "DO_NOT_TRACK": "1",
    "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("client")
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, upstream: FakeUpstream
) -> Iterator[WebProcess]:
    sizes: dict[str, Any] = {"context_tokens": CONTEXT, "max_output_tokens": MAX_OUTPUT}
    with django_db_blocker.unblock():
        add_model(CHAT_MODEL, upstream.url, **sizes)
        add_model(NATIVE_MODEL, upstream.url, protocols=("chat", "messages", "responses"), **sizes)
    with django_db_blocker.unblock(), web_process() as process:
        yield process
        take_off_sale(CHAT_MODEL, NATIVE_MODEL)


@pytest.fixture
def scripted_by(upstream: FakeUpstream) -> Callable[[Callable[[dict[str, Any]], Answer]], None]:
    """`scripted_by(answer)`: upstream says `answer(request)`. More than MOST_REQUESTS are refused."""

    def play(answer: Callable[[dict[str, Any]], Answer]) -> None:
        async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
            number, path = len(upstream.requests), upstream.paths[-1].partition("?")[0]
            if number > MOST_REQUESTS:
                await respond(400, {"error": {"message": "Enough."}})(request, writer)
            elif request.get("stream"):
                await stream_events(*stream_of(path, answer(request), number=number))(request, writer)
            else:
                await respond(200, whole_of(path, answer(request), number=number))(request, writer)

        upstream.script = script

    return play


@pytest.fixture
def scripted(scripted_by: Callable[[Callable[[dict[str, Any]], Answer]], None]) -> Callable[..., None]:
    """`scripted(step, …)`: the next step of a task after each result of a tool."""
    return lambda *steps: scripted_by(lambda request: answer_to(request, steps))


@dataclass
class Ended:
    """`said`: its standard output and errors together."""

    status: int
    said: str


@dataclass
class Machine:
    """A user's computer: a home, and a project under git, in which programs run one after the other."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    running: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.home / "project"

    def write(self, place: str, text: str) -> None:
        path = self.home / place.removeprefix("~/") if place.startswith("~/") else self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, *command: str, **env: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command, cwd=self.project, env={**self.env, **env}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self.running.append(process)
        return process

    def end(self, process: "subprocess.Popen[str]", *, seconds: float = SECONDS) -> Ended:
        """What it had said when it ended, or when its time was over."""
        try:
            said = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.kill(process)
            said = process.communicate()[0] + "\n[killed when its time was over]"
        return Ended(process.returncode, said)

    def run(self, *command: str, seconds: float = SECONDS, **env: str) -> Ended:
        return self.end(self.start(*command, **env), seconds=seconds)

    def kill(self, process: "subprocess.Popen[str]") -> None:
        with contextlib.suppress(ProcessLookupError):  # it and all that it started have ended
            os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        for process in self.running:
            self.kill(process)
            process.wait(10)
            if process.stdout:
                process.stdout.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    path = os.pathsep.join([str(NPM / ".bin"), str(INSTALLED / "aider" / "bin"), os.environ["PATH"]])
    machine = Machine(tmp_path, {"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8", **QUIET})
    machine.project.mkdir()
    (machine.project / "notes.txt").write_text("one\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "notes"]):
        author = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *author, *command], cwd=machine.project, check=True, env=machine.env)
    yield machine
    machine.close()


@dataclass
class Connected:
    """A program with what the page "Connect" says about it, for one model and one key."""

    machine: Machine
    texts: dict[str, str]

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.machine.start("bash", "-c", self.texts[SHELL] + ' "$@"', "bash", *arguments)

    def run(self, *arguments: str, seconds: float = SECONDS) -> Ended:
        return self.machine.end(self.start(*arguments), seconds=seconds)


@pytest.fixture
def connect(machine: Machine, web: WebProcess) -> Callable[..., Connected]:
    def connect(slug: str, model: str, caller: Caller) -> Connected:
        at = Setting(web.url, caller.key, model, CONTEXT, MAX_OUTPUT)
        program = next(program for program in PROGRAMS if program.slug == slug)
        texts = dict(program.steps(at))
        for place, text in texts.items():
            if place.startswith(("~/", ".")):
                machine.write(place, text)
        return Connected(machine, texts)

    return connect


def needs_node(package: str) -> None:
    if shutil.which("node") is None:
        pytest.skip(f"{package} was not run: there is no Node here (Debian: apt-get install nodejs npm)")
    if not (NPM / package).exists():
        pytest.skip(f"{package} was not run: it is not installed; `make clients` does")


def environment(name: str) -> Path:
    """The Python of an environment that `make clients` makes."""
    python = INSTALLED / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"programs of {name} were not run: they are not installed; `make clients` does")
    return python


def used(caller: Caller) -> Sequence[UsageRecord]:
    """What the key used, oldest first, once nothing is held any more."""
    eventually(lambda: not caller.wallet.holds.exists())
    return list(UsageRecord.objects.filter(key_id=caller.key_id).order_by("created_at"))


def assert_paid_exactly(caller: Caller, upstream: FakeUpstream) -> None:
    """Every request that went upstream is one completed record at its price, and the wallet has paid just these."""
    records = used(caller)
    assert len(records) == len(upstream.requests) <= MOST_REQUESTS
    for record in records:
        assert (record.outcome, record.billed_by) == ("completed", "usage")
        assert (record.prompt_tokens, record.completion_tokens) == (PROMPT, COMPLETION)
        assert record.cost_micro == PROMPT * INPUT_PRICE + COMPLETION * OUTPUT_PRICE
    assert caller.balance() == (CREDIT - sum(record.cost_micro for record in records), 0)


def never_ending(upstream: FakeUpstream, begun: threading.Event) -> Script:
    """A text that goes on until its reader leaves; `begun` is set with the first words."""

    async def script(_request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        path = upstream.paths[-1].partition("?")[0]
        events = stream_of(path, Answer("Once upon a time"), number=1)
        first = next(at for at, event in enumerate(events) if b"Once" in event)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + b"".join(events[:first]))
        for _ in range(300):
            writer.write(events[first])
            await writer.drain()
            begun.set()
            await asyncio.sleep(0.2)

    return script
