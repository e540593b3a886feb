"""n8n: a workflow whose chain asks our model, run from its command line.

n8n keeps its things in the tests' own PostgreSQL: what it needs for SQLite comes as a download from elsewhere.
"""

import json
import uuid
from collections.abc import Callable

import psycopg
import pytest
from django.conf import settings

from tests.clients.conftest import (
    CHAT_MODEL,
    INSTALLED,
    Connected,
    Machine,
    assert_paid_exactly,
)
from tests.clients.scripted import DONE, Answer
from tests.fake_upstream import FakeUpstream
from tests.proxy.api.conftest import Caller

PROGRAMS = INSTALLED / "n8n" / "node_modules" / ".bin"
CHAIN = "@n8n/n8n-nodes-langchain.chainLlm"
MODEL = "@n8n/n8n-nodes-langchain.lmChatOpenAi"
QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_RUNNERS_ENABLED": "false",
}


def database() -> dict[str, str]:
    """A new one for n8n, in the words of its environment."""
    at = settings.DATABASES["default"]
    name = f"n8n_{uuid.uuid4().hex}"
    with psycopg.connect(
        host=at["HOST"], port=at["PORT"] or None, user=at["USER"], password=at["PASSWORD"] or None,
        dbname="postgres", autocommit=True,
    ) as connection:  # fmt: skip
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return {
        "DB_TYPE": "postgresdb", "DB_POSTGRESDB_HOST": at["HOST"], "DB_POSTGRESDB_PORT": str(at["PORT"] or 5432),
        "DB_POSTGRESDB_USER": at["USER"], "DB_POSTGRESDB_PASSWORD": at["PASSWORD"], "DB_POSTGRESDB_DATABASE": name,
    }  # fmt: skip


def credentials(said: str) -> dict[str, str]:
    """What the page says to enter, by the names that n8n keeps it under."""
    names = {"API Key": "apiKey", "Base URL": "url"}
    return {names[label]: value for label, value in (line.split(": ") for line in said.splitlines())}


def workflow(model: str) -> dict[str, object]:
    def node(name: str, kind: str, version: float, **parameters: object) -> dict[str, object]:
        return {
            "id": name, "name": name, "type": kind, "typeVersion": version, "position": [0, 0],
            "parameters": parameters,
        }  # fmt: skip

    asks = node("Chain", CHAIN, 1.9, promptType="define", text="Hello!")
    by_id = {"__rl": True, "mode": "id", "value": model}
    answers = node("Model", MODEL, 1.3, model=by_id, responsesApiEnabled=False, options={})
    answers["credentials"] = {"openAiApi": {"id": "hamiran", "name": "Hamiran"}}
    starts = node("Start", "n8n-nodes-base.manualTrigger", 1)
    to_chain = {"node": "Chain", "index": 0}
    return {
        "id": "asks", "name": "Asks", "active": False, "settings": {}, "nodes": [starts, asks, answers],
        "connections": {
            "Start": {"main": [[{**to_chain, "type": "main"}]]},
            "Model": {"ai_languageModel": [[{**to_chain, "type": "ai_languageModel"}]]},
        },
    }  # fmt: skip


def test_a_workflow_of_n8n_asks_the_model(
    connect: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    if not (PROGRAMS / "n8n").exists():
        pytest.skip("n8n was not run: it is not installed; `make clients-n8n` does")
    machine.env |= QUIET | database() | {"PATH": f"{PROGRAMS}:{machine.env['PATH']}"}
    scripted(Answer(DONE))
    texts = connect("n8n", CHAT_MODEL, caller).texts
    entered = credentials(texts["Credentials → OpenAI"])
    assert texts["OpenAI Chat Model"] == f"Model: ID, {CHAT_MODEL}\nUse Responses API: off"
    machine.write("credentials.json", json.dumps(
        [{"id": "hamiran", "name": "Hamiran", "type": "openAiApi", "data": entered}]
    ))  # fmt: skip
    machine.write("workflow.json", json.dumps([workflow(CHAT_MODEL)]))
    for command in (
        ["import:credentials", "--input=credentials.json"],
        ["import:workflow", "--input=workflow.json"],
    ):
        ended = machine.run("n8n", *command, seconds=200)
        assert ended.status == 0, ended.said
    ended = machine.run("n8n", "execute", "--id=asks", seconds=200)
    assert ended.status == 0, ended.said
    assert DONE in ended.said, ended.said
    assert_paid_exactly(caller, upstream)
