"""The supervisor with real children: started again, given up, stopped in order, never left behind."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from config import supervisor
from tests.config.processes import eventually, family, gone

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def hang_ups_are_heard() -> Iterator[None]:
    """Whoever runs the tests under nohup hands its deafness on to every child."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Start]:
    """Starts `tests.config.crew` with the children given, waits until it says "up", and leaves nothing behind."""
    with contextlib.ExitStack() as stack:

        def start(*children: str) -> "subprocess.Popen[str]":
            argv = [sys.executable, "-m", "tests.config.crew", str(tmp_path), *children]
            process = stack.enter_context(
                subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            return process

        yield start


def logged(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


def test_a_child_that_is_killed_is_started_again_and_it_is_said(crew: Start, tmp_path: Path) -> None:
    process = crew("web=echo begun; exec sleep 60")
    eventually(lambda: logged(tmp_path / "web.log", "begun"))
    family(process)[0].kill()
    eventually(lambda: (tmp_path / "web.log").read_text().count("begun") == 2)
    process.terminate()
    out, _err = process.communicate(timeout=20)
    assert "web ended (SIGKILL); starting it again" in out
    assert process.returncode == 0


def test_a_child_that_keeps_dying_ends_the_run_with_its_last_lines(crew: Start) -> None:
    process = crew("good=exec sleep 60", "bad=echo the reason; exit 3")
    eventually(lambda: family(process))
    others = family(process)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out.count("bad ended (status 3)") == supervisor.DEATHS_MAX - 1
    assert "bad died 5 times" in err
    assert err.rstrip().endswith("the reason")
    assert gone(others)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_every_child_and_its_own_children(
    crew: Start, tmp_path: Path, number: signal.Signals
) -> None:
    process = crew("one=echo begun; exec sleep 60", "two=echo begun; exec sleep 60")
    eventually(lambda: logged(tmp_path / "one.log", "begun") and logged(tmp_path / "two.log", "begun"))
    children = family(process)
    process.send_signal(number)
    assert process.wait(20) == 0
    assert len(children) == 2
    assert gone(children)


def test_stages_end_in_the_opposite_order_and_each_has_time_to_finish(crew: Start, tmp_path: Path) -> None:
    order = tmp_path / "order"
    slow = f"trap 'sleep 0.3; echo web >>{order}; exit' TERM; echo begun; while :; do sleep 0.02; done"
    fast = f"trap 'echo engine >>{order}; exit' TERM; echo begun; while :; do sleep 0.02; done"
    process = crew(f"engine={fast}", f"web={slow}")
    eventually(lambda: logged(tmp_path / "engine.log", "begun") and logged(tmp_path / "web.log", "begun"))
    process.terminate()
    assert process.wait(20) == 0
    assert order.read_text().split() == ["web", "engine"]


def test_one_that_is_not_vital_ends_nothing_by_dying(crew: Start) -> None:
    process = crew("spare?=exit 3", "web=exec sleep 60")
    assert process.stdout is not None
    said: list[str] = []
    while len(said) < supervisor.DEATHS_MAX:
        said += [line for line in [process.stdout.readline()] if line.startswith("spare ended")]
    assert ["again in a minute." in line for line in said] == [False] * (supervisor.DEATHS_MAX - 1) + [True]
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) == 0


def test_a_second_ctrl_c_does_not_wait_for_the_grace(crew: Start, tmp_path: Path) -> None:
    process = crew("stubborn=trap '' TERM; echo begun; while :; do sleep 0.02; done")
    eventually(lambda: logged(tmp_path / "stubborn.log", "begun"))
    children = family(process)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert "Stopping" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0  # its grace is 60 s
    assert gone(children)


def test_a_closed_terminal_ends_everything(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.config.crew", str(tmp_path), "web=echo begun; exec sleep 60"],
        stdin=terminal, stdout=subprocess.DEVNULL, start_new_session=True, text=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the one way to get a terminal
    )  # fmt: skip
    os.close(terminal)
    try:
        eventually(lambda: logged(tmp_path / "web.log", "begun"))
        children = family(process)
        os.close(screen)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert len(children) == 1
    assert gone(children)


# Its second word is where to say that it is ready; a process started again has none.
WEB = (
    "trap 'echo ended >>{log}; exit' TERM; [ -e {broken} ] && exit 3;"
    ' echo begun $$ >>{log}; [ "$2" ] && echo >/dev/fd/$2; while :; do sleep 0.02; done'
)


@pytest.fixture
def web(tmp_path: Path) -> str:
    return "web=" + WEB.format(log=tmp_path / "order", broken=tmp_path / "broken")


def test_a_reload_ends_each_old_process_when_its_successor_is_ready(
    crew: Start, tmp_path: Path, web: str
) -> None:
    process = crew(web, web)
    order = tmp_path / "order"
    eventually(lambda: logged(order, "begun") and order.read_text().count("begun") == 2)
    old = family(process)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    assert process.stdout.readline() == "reloaded\n"
    said = [line.split()[0] for line in order.read_text().splitlines()]
    assert said == ["begun", "begun", "begun", "ended", "begun", "ended"]
    assert gone(old)
    family(process)[0].kill()
    assert "web ended (SIGKILL); starting it again" in process.stdout.readline()
    eventually(lambda: order.read_text().count("begun") == 5)
    process.terminate()
    assert process.wait(20) == 0


def test_a_reload_whose_new_process_fails_says_why_and_leaves_the_old_ones(
    crew: Start, tmp_path: Path, web: str
) -> None:
    process = crew(web, web)
    order = tmp_path / "order"
    eventually(lambda: logged(order, "begun") and order.read_text().count("begun") == 2)
    old = psutil.Process(process.pid).children()
    (tmp_path / "broken").touch()
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("Not reloaded. The new web did not become ready."):
        pass
    assert psutil.Process(process.pid).children() == old
    assert "ended" not in order.read_text()
    process.terminate()
    assert process.wait(20) == 0
    assert gone(old)


def test_a_reload_whose_new_process_cannot_begin_says_so_and_the_service_goes_on(
    crew: Start, tmp_path: Path, web: str
) -> None:
    process = crew(web)
    order, log = tmp_path / "order", tmp_path / "web.log"
    eventually(lambda: logged(order, "begun"))
    old = psutil.Process(process.pid).children()
    log.unlink()
    log.mkdir()  # its log cannot be opened; a fork that fails is the same OSError
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    printed = [process.stdout.readline()]
    while printed[-1] and not printed[-1].startswith("Not reloaded. The new web did not become ready."):
        printed.append(process.stdout.readline())
    assert "web ended (not started: [Errno 21] Is a directory" in "".join(printed)
    assert psutil.Process(process.pid).children() == old
    log.rmdir()
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "reloaded\n"
    assert gone(old)
    process.terminate()
    assert process.wait(20) == 0


def test_killing_the_supervisor_itself_leaves_no_process(crew: Start, tmp_path: Path) -> None:
    process = crew("one=echo begun; exec sleep 60", "two=echo begun; exec sleep 60")
    eventually(lambda: logged(tmp_path / "one.log", "begun") and logged(tmp_path / "two.log", "begun"))
    children = family(process)
    assert len(children) == 2
    process.kill()
    eventually(lambda: gone(children))


def test_a_log_that_grew_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_MAX_BYTES", 3)
    log = tmp_path / "web.log"
    log.write_text("long")
    supervisor.rotate(log)
    supervisor.rotate(log)
    assert not log.exists()
    assert (tmp_path / "web.log.1").read_text() == "long"


def test_the_parent_of_a_leashed_child_is_checked() -> None:
    """Between the start and the kernel's promise the parent may have died already."""
    leash = [sys.executable, "-IS", "config/leash.py", "9", str(psutil.Process().ppid()), ""]
    done = subprocess.run([*leash, "/bin/echo", "ran"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
