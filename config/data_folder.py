"""One process at a time has a data folder to itself: the service, or a command that must not run beside it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Unavailable(Exception):
    """The data folder cannot be had; the message says why and what to do."""


class InUse(Unavailable):
    """Another process has it."""


@contextlib.contextmanager
def held(var_dir: Path) -> Iterator[None]:
    """Holds the data folder for one run; the lock goes with the process, however that ends. Raises Unavailable."""
    try:
        var_dir.mkdir(parents=True, exist_ok=True)
        lock = (var_dir / "serve.lock").open("a+")
    except OSError as error:
        raise Unavailable(
            f"The data folder cannot be used: {error}. Choose another with HAMIRAN_VAR=…"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InUse(
                f"Hamiran is already running on {var_dir} (process {lock.read().strip()}). "
                "Stop that one, or choose another data folder: HAMIRAN_VAR=… PORT=… make run"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
