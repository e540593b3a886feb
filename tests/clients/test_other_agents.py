"""opencode, aider, Cline and Continue: an edit each over a chat."""

from collections.abc import Callable

from tests.clients.conftest import (
    CHAT_MODEL,
    Connected,
    Machine,
    assert_paid_exactly,
    environment,
    needs_node,
    used,
)
from tests.clients.scripted import DONE, Answer, calls
from tests.fake_upstream import FakeUpstream
from tests.proxy.api.conftest import Caller

EDIT = """notes.txt
```
<<<<<<< SEARCH
one
=======
دو
>>>>>>> REPLACE
```
"""


def test_opencode_edits_a_file(
    connect: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    needs_node("opencode-ai")
    notes = str(machine.project / "notes.txt")
    scripted(
        calls("read", filePath=notes),
        calls("edit", filePath=notes, oldString="one", newString="دو"),
        Answer(DONE),
    )
    ended = connect("opencode", CHAT_MODEL, caller).run("run", "Make two of one in notes.txt.")
    assert DONE in ended.said, ended.said
    assert (machine.project / "notes.txt").read_text() == "دو\n"
    assert_paid_exactly(caller, upstream)


def test_aider_edits_a_file(
    connect: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    environment("aider")
    scripted(Answer(EDIT))
    flags = [
        "--yes-always",
        "--no-check-update",
        "--analytics-disable",
        "--no-show-release-notes",
        "--no-pretty",
    ]
    ended = connect("aider", CHAT_MODEL, caller).run(
        *flags, "--edit-format", "diff", "--message", "Make two of one.", "notes.txt"
    )
    assert (machine.project / "notes.txt").read_text() == "دو\n", ended.said
    assert used(caller)
    assert_paid_exactly(caller, upstream)


def test_cline_edits_a_file(
    connect: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    needs_node("cline")
    notes = str(machine.project / "notes.txt")
    scripted(
        calls("read_files", files=[{"path": notes}]),
        calls("editor", path=notes, old_text="one", new_text="دو"),
        Answer(DONE),
    )
    ended = connect("cline", CHAT_MODEL, caller).run("Make two of one in notes.txt.")
    assert DONE in ended.said, ended.said
    assert (machine.project / "notes.txt").read_text() == "دو\n", ended.said
    assert_paid_exactly(caller, upstream)


def test_continue_edits_a_file(
    connect: Callable[..., Connected],
    machine: Machine,
    caller: Caller,
    upstream: FakeUpstream,
    scripted: Callable[..., None],
) -> None:
    needs_node("@continuedev/cli")
    notes = str(machine.project / "notes.txt")
    scripted(
        calls("Read", filepath=notes),
        calls("Edit", file_path=notes, old_string="one", new_string="دو"),
        Answer(DONE),
    )
    ended = connect("continue", CHAT_MODEL, caller).run("-p", "--auto", "Make two of one in notes.txt.")
    assert DONE in ended.said, ended.said
    assert (machine.project / "notes.txt").read_text() == "دو\n", ended.said
    assert_paid_exactly(caller, upstream)
