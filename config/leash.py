"""Runs a command that must not outlive the process that started it, kill -9 included: a script of its own, see `argv`.

The kernel forgets this when a process changes its user or user namespace, so this has to be the last link of
the chain before the command itself.
"""

import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Sequence


def argv(
    command: Sequence[str], *, on_parent_death: signal.Signals = signal.SIGKILL, uid: int | None = None
) -> list[str]:
    """The command, to be started by this very process; it gets the signal `on_parent_death` when this process dies.

    With `uid` it drops root's rights first and runs as that user.
    """
    program = shutil.which(command[0]) or command[0]
    script = [sys.executable, "-IS", os.path.abspath(__file__)]
    return [
        *script,
        str(int(on_parent_death)),
        str(os.getpid()),
        "" if uid is None else str(uid),
        program,
        *command[1:],
    ]


def bind(parent: int, on_parent_death: signal.Signals = signal.SIGKILL) -> None:
    """This process gets the signal when `parent`, which started it, dies; it exits if that is gone already."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(on_parent_death))
        if os.getppid() != parent:
            sys.exit("The process that asked for this one is gone.")


def _main(on_parent_death: str, parent: str, uid: str, *command: str) -> None:
    if uid:
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    bind(int(parent), signal.Signals(int(on_parent_death)))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would inherit that
    os.execv(command[0], command)  # noqa: S606 - our own commands, no shell; no search, whose import may be closed now


if __name__ == "__main__":
    _main(*sys.argv[1:])
