"""`manage.py serve` as `make run` starts it: whole services on data folders of their own."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.config.processes import eventually, family, gone

pytestmark = pytest.mark.slow


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def paste(line: str) -> dict[str, object]:
    """What a shell and curl make of the printed line, without needing curl."""
    program, url, *rest = shlex.split(line)
    assert program == "curl"
    options = list(zip(rest[::2], rest[1::2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
    body = next(value for name, value in options if name == "-d").encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data=body, headers=headers), timeout=20
    ) as answer:
        found: dict[str, object] = json.load(answer)
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(tmp_path_factory.mktemp("var")) as service:
        yield service


def test_it_says_where_it_is_and_how_to_call_it(service: Service) -> None:
    assert service.line("Ready: ") == f"Ready: http://127.0.0.1:{service.port}/"
    assert service.line("Demo key: hm-")
    assert service.line("Logs: ") == f"Logs: {service.var_dir / 'logs'}"
    assert f"http://127.0.0.1:{service.port}/admin/" in service.line("Admin: ")


def test_the_printed_curl_works_as_it_stands(service: Service) -> None:
    answer = paste(service.line("curl "))
    assert answer["object"] == "chat.completion"
    assert answer["usage"]


def test_a_second_one_on_the_same_data_says_so_and_leaves_the_first_alone(service: Service) -> None:
    second = begin(service.var_dir, free_port())
    out, _err = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"already running on {service.var_dir} (process {service.process.pid})" in out
    assert service.process.poll() is None


@pytest.mark.parametrize("name", ["postgres", "valkey", "web"])
def test_what_is_killed_comes_back_and_it_is_said(service: Service, name: str) -> None:
    words = {"postgres": "bin/postgres", "valkey": "valkey-server", "web": "config.web"}[name]
    children = [one for one in family(service.process) if one.ppid() == service.process.pid]
    (victim,) = [one for one in children if words in " ".join(one.cmdline())]
    victim.kill()
    assert service.next_line().startswith(f"{name} ended (SIGKILL); starting it again.")
    assert eventually(lambda: ready(service))


def ready(service: Service) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{service.port}/readyz", timeout=5).close()
    except OSError:
        return False
    return True


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = begin(tmp_path, port)
        out, _err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken by another program" in out
    assert f"PORT={port + 1} make run" in out
    assert not (tmp_path / "postgres").exists()


def test_the_key_survives_a_stop_and_no_end_leaves_a_process(tmp_path: Path) -> None:
    with started(tmp_path) as service:
        key = service.line("Demo key: ")
        children = family(service.process)
        assert len(children) >= 5
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        assert gone(children)

    with started(tmp_path) as service:
        assert service.line("Demo key: ") == key
        children = family(service.process)
        service.process.kill()
        eventually(lambda: gone(children))
