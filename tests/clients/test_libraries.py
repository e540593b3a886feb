"""SDKs and frameworks: an answer whole and streamed, a tool, an object of a schema (tests/clients/programs)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.dashboard.docs import examples
from tests.clients.conftest import (
    CHAT_MODEL,
    NATIVE_MODEL,
    NPM,
    Connected,
    Machine,
    assert_paid_exactly,
    environment,
    needs_node,
)
from tests.clients.scripted import DONE, Answer, calls, results_in
from tests.fake_upstream import FakeUpstream
from tests.proxy.api.conftest import Caller

PROGRAMS = Path(__file__).parent / "programs"
PERSON = {"name": "Ada", "age": 36}
FOUND = {"whole": DONE, "streamed": DONE, "tool": DONE, "seen": "sky", "structured": PERSON}
CHAT, RESPONSES, MESSAGES = "chat", "responses", "messages"
PYTHON = [
    ("anthropic", MESSAGES), ("openai_chat", CHAT), ("openai_responses", RESPONSES),
    ("langchain", CHAT), ("langchain", RESPONSES), ("langchain", MESSAGES),
    ("pydantic_ai", CHAT), ("pydantic_ai", RESPONSES), ("pydantic_ai", MESSAGES),
    ("openai_agents", CHAT), ("openai_agents", RESPONSES), ("litellm", CHAT), ("litellm", MESSAGES), ("llm", CHAT),
]  # fmt: skip
NODE = [
    ("anthropic", MESSAGES), ("openai", CHAT), ("openai", RESPONSES), ("ai", CHAT), ("ai", RESPONSES),
    ("ai", MESSAGES), ("openai_agents", CHAT), ("openai_agents", RESPONSES),
]  # fmt: skip

of_models = pytest.mark.parametrize(
    "model", [CHAT_MODEL, NATIVE_MODEL], ids=["chat-upstream", "native-upstream"]
)


def answer(request: dict[str, Any]) -> Answer:
    """By what the programs ask: "Hello!", "Look!" (a tool's name follows) and "Who?" (an object of a schema)."""
    asked = json.dumps(request.get("messages") or request["input"])
    if "Look!" in asked and not results_in(request):
        return calls("look", at="sky")
    if "Who?" in asked:
        names = [tool.get("name") or tool["function"]["name"] for tool in request.get("tools", ())]
        return calls(names[0], **PERSON) if names else Answer(json.dumps(PERSON))
    return Answer(DONE)


@pytest.fixture
def assert_finds_all(
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted_by: Callable[[Callable[[dict[str, Any]], Answer]], None],
) -> Callable[..., None]:
    def assert_finds_all(*command: str, model: str, kind: str) -> None:
        scripted_by(answer)
        ended = machine.run(
            *command,
            ROOT=caller.web.url,
            KEY=caller.key,
            MODEL=model,
            KIND=kind,
            LLM_USER_PATH=str(machine.home / "llm"),
        )
        assert ended.status == 0, ended.said
        (found,) = (line for line in ended.said.splitlines() if line.startswith('{"whole"'))
        assert json.loads(found) == FOUND, ended.said
        assert_paid_exactly(caller, upstream)

    return assert_finds_all


@of_models
@pytest.mark.parametrize(("name", "kind"), PYTHON)
def test_python_libraries_get_everything(
    assert_finds_all: Callable[..., None], name: str, kind: str, model: str
) -> None:
    python = environment("sdks")
    assert_finds_all(str(python), str(PROGRAMS / f"with_{name}.py"), model=model, kind=kind)


@of_models
def test_llamaindex_gets_everything(assert_finds_all: Callable[..., None], model: str) -> None:
    python = environment("llamaindex")
    assert_finds_all(str(python), str(PROGRAMS / "with_llamaindex.py"), model=model, kind=CHAT)


@of_models
@pytest.mark.parametrize(("name", "kind"), NODE)
def test_libraries_for_node_get_everything(
    assert_finds_all: Callable[..., None], machine: Machine, name: str, kind: str, model: str
) -> None:
    needs_node("ai")
    (machine.home / "node_modules").symlink_to(NPM)
    program = machine.home / f"with_{name}.mjs"
    shutil.copy(PROGRAMS / program.name, program)
    assert_finds_all("node", str(program), model=model, kind=kind)


def test_what_the_page_says_about_langchain_runs(
    machine: Machine,
    connect: Callable[..., Connected],
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    scripted(Answer(DONE))
    program = connect("langchain", CHAT_MODEL, caller)
    assert program.machine.run(str(environment("sdks")), "-c", program.texts["Python"]).said == f"{DONE}\n"
    assert_paid_exactly(caller, upstream)


def test_what_the_page_says_about_curl_runs(
    machine: Machine,
    connect: Callable[..., Connected],
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    scripted(Answer(DONE))
    program = connect("curl", CHAT_MODEL, caller)
    assert DONE in program.machine.run("bash", "-c", program.texts["cURL"]).said
    assert_paid_exactly(caller, upstream)


@pytest.mark.parametrize("answer", ["whole", "streamed"])
def test_what_the_pages_say_about_php_runs(
    machine: Machine,
    connect: Callable[..., Connected],
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
    answer: str,
) -> None:
    if shutil.which("php") is None:
        pytest.skip("PHP was not run: there is none here (Debian: apt-get install php-cli php-curl)")
    scripted(Answer(DONE))
    code = connect("php", CHAT_MODEL, caller).texts[examples.PHP.title]
    if answer == "streamed":
        code = examples.PHP.written(base_url=caller.web.url, key=caller.key, model_id=CHAT_MODEL).streamed
    machine.write("hello.php", code)
    assert machine.run("php", "hello.php").said == DONE
    assert_paid_exactly(caller, upstream)
