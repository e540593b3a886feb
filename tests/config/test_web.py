"""The web process' share of the machine: how many descriptors it may open, and for whom it keeps one."""

import configparser
import resource
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from tests.live import WebProcess, web_process

UNIT = Path("deploy/systemd/hamiran.service")


def test_a_web_process_may_open_as_many_descriptors_as_the_system_lets_it(django_db_setup: None) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft, hard), hard))
    try:
        with web_process() as web:
            assert psutil.Process(web.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_unit_has_descriptors_for_both_ends_of_all_completions() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(UNIT.read_text())
    assert int(unit["Service"]["LimitNOFILE"]) > 2 * settings.IN_FLIGHT_MAX


@pytest.fixture(scope="module")
def impatient(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    with django_db_blocker.unblock(), web_process(env={"BODY_IDLE_TIMEOUT_SECONDS": "1"}) as process:
        yield process


@pytest.mark.parametrize("begun", [b"", b"P", b"POST / HTTP/1.1\r\nHost: x\r\n"])
def test_a_connection_that_never_completes_a_head_is_closed(impatient: WebProcess, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as connection:
        connection.sendall(begun)
        assert connection.recv(100) == b""


def test_a_kept_connection_is_closed_over_half_a_head_but_not_for_being_idle(impatient: WebProcess) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200")
            assert not select.select([connection], [], [], 2)[0]  # neither closed nor written to
        connection.sendall(b"G")
        assert connection.recv(100) == b""
