"""Claude Code, unmodified (npm i @anthropic-ai/claude-code), where `CLAUDE_CODE` names it: a task, a resume, an
interrupt, and what it makes of errors."""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from proxy.api.messages.content import unmarked
from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM as CHAT_STREAM
from tests.fake_upstream import FakeUpstream, chunk, respond, stream_events
from tests.live import eventually
from tests.proxy.api.conftest import MODEL
from tests.proxy.api.messages.conftest import NATIVE_MODEL, Messenger
from tests.proxy.api.messages.fake_messages import END, START, STOP, block

PROGRAM = os.environ.get("CLAUDE_CODE")
SECONDS = 60
QUIET = ("DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING")
NATIVE_TEXT = [
    START.replace(b"msg_upstream", b"msg_text"),
    block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello!"}),
    END.replace(b"tool_use", b"end_turn"),
    STOP,
]

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Claude Code: set CLAUDE_CODE to its path")
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


def call(name: str, arguments: str, *, native: bool) -> list[bytes]:
    if native:
        begun = {"type": "tool_use", "id": "toolu_up", "name": name, "input": {}}
        pieces = (
            {"type": "input_json_delta", "partial_json": part} for part in (arguments[:9], arguments[9:])
        )
        return [START, block(0, begun, *pieces), END, STOP]
    parts = [{"name": name, "arguments": ""}, {"arguments": arguments[:9]}, {"arguments": arguments[9:]}]
    calls = [chunk({"tool_calls": [{"index": 0, "id": "call_0", "function": part}]}) for part in parts]
    return [
        chunk({"reasoning_content": "I write it."}),
        *calls,
        chunk({}, finish="tool_calls"),
        *CHAT_STREAM[-2:],
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def start(project: Path) -> Start:
    def begin(messenger: Messenger, model: str, *arguments: str) -> "subprocess.Popen[str]":
        caller = messenger.caller
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(project.parent),
            "ANTHROPIC_BASE_URL": caller.web.url,
            "ANTHROPIC_API_KEY": caller.key,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **dict.fromkeys(QUIET, "1"),
        }
        return subprocess.Popen(
            [str(PROGRAM), "-p", "--model", model, "--permission-mode", "acceptEdits", *arguments],
            cwd=project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return begin


@pytest.fixture
def claude(start: Start) -> Callable[..., str]:
    """Runs it to its end and returns what it wrote."""

    def run(*asked: Any) -> str:
        with start(*asked) as process:
            try:
                return process.communicate(timeout=SECONDS)[0]
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    return run


@pytest.mark.parametrize("model", [NATIVE_MODEL, MODEL])
def test_it_carries_out_a_task_and_resumes_it(
    messenger: Messenger, upstream: FakeUpstream, claude: Callable[..., str], project: Path, model: str
) -> None:
    native = model == NATIVE_MODEL
    target = project / "made.txt"
    text = NATIVE_TEXT if native else CHAT_STREAM
    written = json.dumps({"file_path": str(target), "content": "سلام\n"}, ensure_ascii=False)
    answers = iter([call("Write", written, native=native), text, text])

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await stream_events(*next(answers))(request, writer)

    upstream.script = script
    assert "Hello!" in claude(messenger, model, "Write a file.")
    assert target.read_text() == "سلام\n"
    assert "Hello!" in claude(messenger, model, "--continue", "Go on.")
    first, second, third = (list(map(unmarked, request["messages"])) for request in upstream.requests)
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    records = UsageRecord.objects.filter(key_id=messenger.caller.key_id)
    assert [record.outcome for record in records] == ["completed"] * 3


@pytest.mark.parametrize("model", [NATIVE_MODEL, MODEL])
def test_an_interrupt_ends_its_answer(
    messenger: Messenger, upstream: FakeUpstream, start: Start, model: str
) -> None:
    held = threading.Event()
    begun = NATIVE_TEXT[:2] if model == NATIVE_MODEL else CHAT_STREAM[:3]
    upstream.script = stream_events(*begun, held, *begun)
    with start(messenger, model, "Hello!") as process:
        eventually(lambda: upstream.requests, seconds=SECONDS)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=SECONDS)
    held.set()
    eventually(lambda: UsageRecord.objects.filter(key_id=messenger.caller.key_id).exists())
    assert messenger.caller.usage().outcome == "client_left"


def test_an_empty_wallet_is_shown_in_our_words_after_one_request(
    make_messenger: Callable[..., Messenger], upstream: FakeUpstream, claude: Callable[..., str]
) -> None:
    said = claude(make_messenger(credit_micro=1, rpm=1), MODEL, "Hello!")
    assert "402 Insufficient wallet balance." in said
    assert upstream.requests == []


def test_a_prompt_beyond_the_limit_of_tokens_is_shown_in_our_words(
    make_messenger: Callable[..., Messenger], upstream: FakeUpstream, claude: Callable[..., str]
) -> None:
    said = claude(make_messenger(tpm=500), MODEL, "Hello!")
    assert "This request alone is larger than the key's limit" in said
    assert upstream.requests == []


def test_a_full_context_is_known_as_one(
    messenger: Messenger, upstream: FakeUpstream, claude: Callable[..., str]
) -> None:
    upstream.script = respond(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
    assert "Prompt is too long" in claude(messenger, MODEL, "Hello!")
    assert len(upstream.requests) == 1
