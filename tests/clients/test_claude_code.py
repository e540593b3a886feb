"""Claude Code: tasks with tools, resumed and interrupted, translated and on an upstream of its own protocol."""

import os
import signal
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.clients.conftest import (
    CHAT_MODEL,
    NATIVE_MODEL,
    Connected,
    Machine,
    assert_paid_exactly,
    needs_node,
    never_ending,
    used,
)
from tests.clients.scripted import DONE, Answer, calls
from tests.fake_upstream import FakeUpstream, respond
from tests.proxy.api.conftest import Caller

TASK = ["-p", "Make two of one in notes.txt.", "--permission-mode", "acceptEdits"]

both_ways = pytest.mark.parametrize("model", [CHAT_MODEL, NATIVE_MODEL], ids=["translated", "native"])


@pytest.fixture
def claude(connect: Callable[..., Connected]) -> Callable[..., Connected]:
    needs_node("@anthropic-ai/claude-code")

    def claude(model: str, caller: Caller) -> Connected:
        return connect("claude-code", model, caller)

    return claude


@both_ways
def test_it_edits_a_file_and_goes_on_afterwards(
    claude: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
    model: str,
) -> None:
    notes = str(machine.project / "notes.txt")
    scripted(
        calls("Read", file_path=notes),
        calls("Edit", file_path=notes, old_string="one", new_string="دو"),
        Answer(DONE),
    )
    program = claude(model, caller)
    ended = program.run(*TASK)
    assert (DONE in ended.said, ended.status) == (True, 0), ended.said
    assert (machine.project / "notes.txt").read_text() == "دو\n"
    assert_paid_exactly(caller, upstream)

    resumed = program.run("--continue", "-p", "And now?")
    assert (DONE in resumed.said, resumed.status) == (True, 0), resumed.said
    assert "And now?" in str(upstream.requests[-1]["messages"])
    assert "Make two of one" in str(upstream.requests[-1]["messages"])
    if model == CHAT_MODEL:  # a cache of prompts rests on each turn being the beginning of the next
        turns = [request["messages"] for request in upstream.requests if request.get("tools")]
        for before, after in pairwise(turns):
            assert after[: len(before)] == before
    assert_paid_exactly(caller, upstream)


@both_ways
def test_an_interrupt_is_settled(
    claude: Callable[..., Connected], caller: Caller, upstream: FakeUpstream, model: str
) -> None:
    begun = threading.Event()
    upstream.script = never_ending(upstream, begun)
    program = claude(model, caller)
    process = program.start("-p", "Tell me a story.")
    assert begun.wait(60)
    os.killpg(process.pid, signal.SIGINT)
    program.machine.end(process, seconds=30)
    assert upstream.hung_up.wait(20)
    (record,) = used(caller)
    assert (record.outcome, record.stream) == ("client_left", True)


def test_an_empty_wallet_stops_it_at_once(
    claude: Callable[..., Connected], make_caller: Any, upstream: FakeUpstream
) -> None:
    poor = make_caller(credit_micro=1, rpm=3)
    ended = claude(CHAT_MODEL, poor).run("-p", "Hello!")
    assert "balance" in ended.said
    assert "rate limit" not in ended.said.lower()
    assert upstream.requests == []


def test_a_prompt_beyond_the_limit_of_tokens_is_shown_in_our_words(
    claude: Callable[..., Connected], make_caller: Any, upstream: FakeUpstream
) -> None:
    ended = claude(CHAT_MODEL, make_caller(tpm=500)).run("-p", "Hello!")
    assert "This request alone is larger than the key's limit" in ended.said
    assert upstream.requests == []


def test_a_full_context_is_known_as_one(
    claude: Callable[..., Connected], caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
    assert "Prompt is too long" in claude(CHAT_MODEL, caller).run("-p", "Hello!").said
    assert len(upstream.requests) == 1
