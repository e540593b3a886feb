"""Codex CLI, unmodified (npm i @openai/codex), where it is installed: a task with a tool call, and a resume.

`CODEX` names the program where it is not on the path.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_upstream import FakeUpstream, chunk, stream_events
from tests.proxy.api.conftest import MODEL, Caller
from tests.proxy.api.responses.upstream import STREAM, USED, call_chunk, chat_stream, event, response

PROGRAM = os.environ.get("CODEX") or shutil.which("codex")
SECONDS = 60
COMMAND = json.dumps({"cmd": "echo hi > made.txt"})
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "exec_command",
    "arguments": COMMAND,
    "status": "completed",
}
NATIVE_CALL = [
    event("response.created", response=response("in_progress"), sequence_number=0),
    event("response.output_item.added", output_index=0, item={**CALL, "arguments": ""}, sequence_number=1),
    event(
        "response.function_call_arguments.delta",
        output_index=0,
        item_id="fc_1",
        delta=COMMAND,
        sequence_number=2,
    ),
    event("response.output_item.done", output_index=0, item=CALL, sequence_number=3),
    event("response.completed", response=response(output=[CALL], usage=USED), sequence_number=4),
]
CHAT_CALL = chat_stream(
    chunk({"reasoning_content": "I shall write a file."}),
    call_chunk(0, call_id="call_0", name="exec_command"),
    call_chunk(0, arguments=COMMAND[:9]),
    call_chunk(0, arguments=COMMAND[9:]),
    finish="tool_calls",
)

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Codex CLI is not installed: set CODEX to its path")


@pytest.fixture
def codex(tmp_path: Path) -> Callable[..., str]:
    """Runs it in a project of its own and returns what it wrote."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home)}

    def run(caller: Caller, model: str, *arguments: str) -> str:
        (home / "config.toml").write_text(
            f'model = "{model}"\nmodel_provider = "here"\n[model_providers.here]\nname = "here"\n'
            f'base_url = "{caller.web.url}/v1"\nenv_key = "KEY"\nwire_api = "responses"\n[analytics]\nenabled = false\n'
        )
        options = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        with subprocess.Popen(
            [str(PROGRAM), *options, *arguments],
            cwd=project,
            env=env | {"KEY": caller.key},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                return process.communicate(timeout=SECONDS)[0]
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    return run


@pytest.mark.parametrize("native", [False, True], ids=["chat", "responses"])
def test_codex_carries_out_a_task_and_resumes_it(
    caller: Caller,
    native_model: str,
    upstream: FakeUpstream,
    codex: Callable[..., str],
    tmp_path: Path,
    native: bool,
) -> None:
    text = STREAM if native else chat_stream(chunk({"content": "Hello!"}))
    answers = iter([NATIVE_CALL if native else CHAT_CALL, text, text])

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await stream_events(*next(answers))(request, writer)

    upstream.script = script
    model = native_model if native else MODEL
    assert "Hello!" in codex(caller, model, "Write a file.")
    assert (tmp_path / "project" / "made.txt").read_text() == "hi\n"
    assert len(upstream.requests) == 2
    assert "Hello!" in codex(caller, model, "resume", "--last", "Go on.")
    first, second, third = (request["input" if native else "messages"] for request in upstream.requests)
    assert second[: len(first)] == first
    assert third[: len(second)] == second


def test_an_empty_wallet_stops_codex_at_once(
    make_caller: Any, upstream: FakeUpstream, codex: Callable[..., str]
) -> None:
    poor = make_caller(credit_micro=1, rpm=3)
    said = codex(poor, MODEL, "Hello!")
    assert "Quota exceeded" in said
    assert "rate limit" not in said.lower()
    assert upstream.requests == []
