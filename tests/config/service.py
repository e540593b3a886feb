"""`manage.py serve` as `make run` starts it: the whole service on a data folder."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.live import free_port


@dataclass
class Service:
    process: "subprocess.Popen[str]"
    var_dir: Path
    port: int
    printed: list[str]

    def line(self, beginning: str) -> str:
        return next(line for line in self.printed if line.startswith(beginning))

    def next_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def begin(var_dir: Path, port: int, **given: str) -> "subprocess.Popen[str]":
    env = {**os.environ, **given, "HAMIRAN_VAR": str(var_dir), "PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "manage.py", "serve"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@contextlib.contextmanager
def started(var_dir: Path, **env: str) -> Iterator[Service]:
    """A service that has said its last line of the start; killed at the end if it still runs."""
    port = free_port()
    service = Service(process=begin(var_dir, port, **env), var_dir=var_dir, port=port, printed=[])
    with service.process:
        try:
            while not service.printed or "Ctrl-C stops everything" not in service.printed[-1]:
                line = service.next_line()
                assert line, "\n".join(service.printed)
                service.printed.append(line.rstrip())
            yield service
        finally:
            service.process.kill()
