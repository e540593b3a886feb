"""Open WebUI: its own server, whose users find our models and ask them."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.clients.conftest import (
    CHAT_MODEL,
    INSTALLED,
    NATIVE_MODEL,
    Connected,
    Machine,
    assert_paid_exactly,
    environment,
)
from tests.clients.scripted import DONE, Answer
from tests.fake_upstream import FakeUpstream
from tests.live import eventually, free_port, listens
from tests.proxy.api.conftest import Caller

ADMIN = {"name": "Ada", "email": "ada@example.com", "password": "only-for-Open-WebUI-1"}
ASKED = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def open_webui(connect: Callable[..., Connected], machine: Machine, caller: Caller) -> Iterator[httpx.Client]:
    """Signed in as the first user, who is its admin. Its own files lie in the home folder."""
    environment("open-webui")
    machine.env |= {
        "PATH": f"{INSTALLED / 'open-webui' / 'bin'}:{machine.env['PATH']}",
        "DATA_DIR": str(machine.home / "data"),
        "OFFLINE_MODE": "true",
    }
    program = connect("open-webui", CHAT_MODEL, caller)
    shell = program.texts["Shell"].removeprefix("pip install open-webui\n")
    port = free_port()
    machine.start("bash", "-c", f"{shell} --host 127.0.0.1 --port {port} >{machine.home}/log 2>&1")
    eventually(lambda: listens(port), seconds=200)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=60, trust_env=False) as browser:
        signed_up = browser.post("/v1/auths/signup", json=ADMIN).raise_for_status().json()
        browser.headers["Authorization"] = f"Bearer {signed_up['token']}"
        yield browser


def test_open_webui_finds_the_models_and_asks_them(
    open_webui: httpx.Client, caller: Caller, upstream: FakeUpstream, scripted: Callable[..., None]
) -> None:
    scripted(Answer(DONE))
    assert open_webui.get("/config").json()["default_models"] == CHAT_MODEL
    models = [model["id"] for model in open_webui.get("/models").json()["data"]]
    assert {CHAT_MODEL, NATIVE_MODEL} <= set(models)

    whole = open_webui.post("/chat/completions", json=ASKED).raise_for_status().json()
    assert whole["choices"][0]["message"]["content"] == DONE

    streamed = open_webui.post("/chat/completions", json={**ASKED, "stream": True}).raise_for_status().text
    *events, last = [line.removeprefix("data: ") for line in streamed.splitlines() if line]
    assert last == "[DONE]"
    said = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(said) == DONE
    assert len(upstream.requests) == 2
    assert_paid_exactly(caller, upstream)
