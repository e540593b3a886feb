"""The processes of a measurement: on which core they run, frozen while another is measured, what they cost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from config import leash

STOP_SECONDS = 40
GATEWAY_CORE, *OTHER_CORES = sorted(os.sched_getaffinity(0))


class NotReady(Exception):
    """A process did not come up; the message says where its log is."""


def leave_the_gateway_core() -> None:
    """This process, and what it starts unless pinned elsewhere, keeps off the gateways' core from now on."""
    if not OTHER_CORES:
        raise SystemExit("This measurement needs two cores: one for the gateway, one for everything else.")
    os.sched_setaffinity(0, OTHER_CORES)


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started here, with its children."""

    name: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float = 90) -> None:
        """Raises NotReady."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NotReady(f"{self.name} did not come up; see {self.log}")
            time.sleep(0.1)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """User and system time so far, with all below it, those that have ended included."""
        each = (process.cpu_times() for process in self._family())
        spent = sum(times.user + times.system + times.children_user + times.children_system for times in each)
        return float(spent)

    def rss_mb(self) -> float:
        return float(sum(process.memory_info().rss for process in self._family())) / 1e6

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is not None:
            return
        self.thaw()
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._family():
            process.send_signal(number)

    def _family(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]


def start(
    name: str,
    command: list[str],
    *,
    log: Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    is_gateway: bool = False,
) -> Running:
    """Starts a command that ends with this process. A gateway has a core for itself."""
    pin = ["taskset", "-c", str(GATEWAY_CORE)] if is_gateway else []
    with log.open("ab") as out:
        process = subprocess.Popen(
            leash.argv([*pin, *command]),
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env={**os.environ, **(env or {})},
        )  # fmt: skip
    return Running(name, log, process)
