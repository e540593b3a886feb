"""`manage.py serve` as `make run` starts it: whole services on data folders of their own."""

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.config.conftest import Installed
from tests.config.processes import eventually, family, gone
from tests.config.service import Service, begin, started
from tests.live import free_port

pytestmark = pytest.mark.slow


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
def service(copied: Callable[[], Path]) -> Iterator[Service]:
    with started(copied()) as service:
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


def test_the_doctor_finds_a_running_sandbox_well(service: Service) -> None:
    env = {**os.environ, "HAMIRAN_VAR": str(service.var_dir), "PORT": str(service.port)}
    argv = [sys.executable, "manage.py", "doctor", "--json"]
    ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout
    findings = json.loads(ran.stdout)["findings"]
    assert {finding["level"] for finding in findings} == {"ok"}
    assert {finding["part"] for finding in findings} >= {"PostgreSQL", "Valkey", "web", "Celery", "upstreams"}


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


def workers(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [each] * ("worker" in each.cmdline())
    return found


def test_the_key_survives_a_stop_and_no_end_leaves_a_process(
    installed: Installed, copied: Callable[[], Path]
) -> None:
    assert installed.left_no_process
    with started(copied()) as service:
        assert service.line("Demo key: ") in installed.printed
        eventually(lambda: len(workers(family(service.process))) > 1)  # the worker and those who work for it
        children = family(service.process)
        service.process.kill()
        eventually(lambda: gone(children))
