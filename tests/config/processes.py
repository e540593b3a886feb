"""Watching real processes from a test, with deadlines instead of sleeps."""

import contextlib
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")
DEADLINE_SECONDS = 60  # of a whole service that starts on a busy machine


def eventually(look: Callable[[], T], *, seconds: float = DEADLINE_SECONDS) -> T:
    """What `look` returns as soon as that is true. Raises AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return seen


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return children


def names(processes: list[psutil.Process]) -> set[str]:
    """Of those that are still there: some of PostgreSQL's come and go."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether each has ended; one that only waits for its parent to take notice has."""
    return not any(_lives(process) for process in processes)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
