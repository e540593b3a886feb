"""Codex: tasks with tools, resumed and interrupted, translated and on an upstream of its own protocol."""

import itertools
import os
import signal
import threading
from collections.abc import Callable
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
from tests.fake_upstream import FakeUpstream
from tests.proxy.api.conftest import Caller

RUN = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
QUIETLY = ["-c", "analytics.enabled=false"]

both_ways = pytest.mark.parametrize("model", [CHAT_MODEL, NATIVE_MODEL], ids=["translated", "native"])


@pytest.fixture
def codex(connect: Callable[..., Connected]) -> Callable[..., Connected]:
    needs_node("@openai/codex")

    def codex(model: str, caller: Caller) -> Connected:
        return connect("codex", model, caller)

    return codex


@both_ways
def test_it_edits_a_file_and_goes_on_afterwards(
    codex: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
    model: str,
) -> None:
    scripted(
        calls("exec_command", cmd="cat notes.txt"),
        calls("exec_command", cmd="sed -i s/one/دو/ notes.txt"),
        Answer(DONE),
    )
    program = codex(model, caller)
    ended = program.run(*RUN, *QUIETLY, "Make two of one in notes.txt.")
    assert (DONE in ended.said, ended.status) == (True, 0), ended.said
    assert (machine.project / "notes.txt").read_text() == "دو\n"
    assert len(upstream.requests) == 3

    resumed = program.run(*RUN, *QUIETLY, "resume", "--last", "And now?")
    assert (DONE in resumed.said, resumed.status) == (True, 0), resumed.said
    sent = [request["input" if "input" in request else "messages"] for request in upstream.requests]
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier)] == earlier  # upstream's cache of prompts is hit
    assert_paid_exactly(caller, upstream)


@both_ways
def test_an_interrupt_is_settled(
    codex: Callable[..., Connected], caller: Caller, upstream: FakeUpstream, model: str
) -> None:
    begun = threading.Event()
    upstream.script = never_ending(upstream, begun)
    program = codex(model, caller)
    process = program.start(*RUN, *QUIETLY, "Tell me a story.")
    assert begun.wait(60)
    os.killpg(process.pid, signal.SIGINT)
    program.machine.end(process, seconds=30)
    assert upstream.hung_up.wait(20)
    (record,) = used(caller)
    assert (record.outcome, record.stream) == ("client_left", True)


def test_an_empty_wallet_stops_it_at_once(
    codex: Callable[..., Connected], make_caller: Any, upstream: FakeUpstream
) -> None:
    poor = make_caller(credit_micro=1, rpm=3)
    ended = codex(CHAT_MODEL, poor).run(*RUN, *QUIETLY, "Hello!")
    assert "Quota exceeded" in ended.said
    assert "rate limit" not in ended.said.lower()
    assert upstream.requests == []
