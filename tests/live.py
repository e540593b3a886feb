"""A real web process of this project on a free port, against the test run's own engines and database."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(holds: Callable[[], object], *, seconds: float = 30) -> None:
    """Waits until `holds()` is true, and fails when it stays false."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def at_once(
    ask: Callable[[httpx.Client, Item], Answer],
    items: Iterable[Item],
    *,
    threads: int,
    http: Callable[[], httpx.Client] = httpx.Client,
) -> list[Answer]:
    """`ask` of every item, so many at a time; each thread has a client of its own.

    One that threads share is now and then closed under one of them (findings/httpx-client-shared-by-threads.sh).
    """
    own = threading.local()
    with ExitStack() as clients:

        def begin() -> None:
            own.client = clients.enter_context(http())

        with ThreadPoolExecutor(threads, initializer=begin) as pool:
            return list(pool.map(lambda item: ask(own.client, item), items))


class WebProcess:
    """`url` is where it listens; `log` what it wrote; `module` what is run."""

    def __init__(
        self, *, env: dict[str, str] | None = None, module: str = "config.web", ready: str = "/readyz"
    ) -> None:
        self._module, self._ready = module, ready
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = connection.settings_dict
        self._env = {
            **os.environ,
            "DATABASE_URL": f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}",
            "PORT": str(self.port),
            "SHUTDOWN_GRACE_SECONDS": "3",
            **(env or {}),
        }
        self._log = Path(os.environ["HAMIRAN_VAR"]) / f"web-{self.port}.log"
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", self._module, "--port", str(self.port)],
                cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}{self._ready}", timeout=5).status_code == 200:
                    return process
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"the web process did not come up:\n{self.log}")
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def web_process(
    *, env: dict[str, str] | None = None, module: str = "config.web", ready: str = "/readyz"
) -> Iterator[WebProcess]:
    web = WebProcess(env=env, module=module, ready=ready)
    try:
        yield web
    finally:
        web.stop()
