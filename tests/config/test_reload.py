"""`manage.py serve` is reloaded and stopped under load: no caller is cut off, and every answer is paid for."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import psycopg
import pytest

from config import embedded
from tests.config.processes import eventually, gone
from tests.config.service import Service, started
from tests.fake_upstream import STREAM, USAGE, FakeUpstream, answer_whole, chunk, stream_events
from tests.live import ROOT

pytestmark = pytest.mark.slow

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
BODY: dict[str, Any] = {"model": "gemini-3.1-flash-lite-preview", "messages": HELLO, "max_tokens": 100}
COST_MICRO = USAGE["prompt_tokens"] * 300_000 + USAGE["completion_tokens"] * 1_800_000  # starter catalogue


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    upstream = FakeUpstream()
    whole, stream = answer_whole(), stream_events(*STREAM[:2], 0.2, *STREAM[2:])

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)  # a load that leaves the machine time to start processes
        await (stream if request.get("stream") else whole)(request, writer)

    upstream.script = script
    yield upstream
    upstream.close()


def kept(url: str, key: str) -> Iterator[str]:
    """Whole and streamed answers over one connection, kept for as long as the service wants."""
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as http:
        while True:
            answer = http.post(f"{url}/v1/chat/completions", json=BODY)
            assert answer.status_code == 200, answer.text
            yield "kept, whole"
            answer = http.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True})
            assert answer.status_code == 200, answer.text
            assert answer.text.endswith("data: [DONE]\n\n"), answer.text
            assert "error" not in answer.text
            yield "kept, streamed"


def fresh(url: str, key: str) -> Iterator[str]:
    """Whole answers, each over a connection of its own."""
    headers = {"Authorization": f"Bearer {key}"}
    while True:
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        yield "fresh"


def official(url: str, key: str) -> Iterator[str]:
    """The official client, told not to try again."""
    with openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0) as sdk:
        while True:
            answer = sdk.chat.completions.create(**BODY)
            assert answer.choices[0].message.content == "Hello!"
            yield "official, whole"
            chunks = list(sdk.chat.completions.create(**BODY, stream=True))
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello!"
            yield "official, streamed"


class Load:
    """Callers who never rest, until one of them fails or the block is left; then `answered` counts by kind."""

    def __init__(self, url: str, key: str, *callers: Callable[[str, str], Iterator[str]]) -> None:
        self.answered = Counter[str]()
        self._url, self._key, self._callers = url, key, callers
        self._enough = threading.Event()

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(len(self._callers))
        self._running = [self._pool.submit(self._call, caller) for caller in self._callers]
        return self

    def __exit__(self, *_error: object) -> None:
        self._enough.set()
        self._pool.shutdown()
        for caller in self._running:
            caller.result()

    def _call(self, caller: Callable[[str, str], Iterator[str]]) -> None:
        try:
            for kind in caller(self._url, self._key):
                self.answered[kind] += 1
                if self._enough.is_set():
                    return
        finally:
            self._enough.set()


def row(service: Service, sql: str) -> tuple[Any, ...]:
    with psycopg.connect(embedded.database_url(service.var_dir)) as database:
        (row,) = database.execute(sql).fetchall()
    return tuple(row)


def crew(service: Service) -> dict[str, set[psutil.Process]]:
    """The service's processes by what they are."""
    found: dict[str, set[psutil.Process]] = {name: set() for name in ("config.web", "worker", "beat")}
    for process in psutil.Process(service.process.pid).children():
        for word in process.cmdline():
            found.get(word, set()).add(process)
    return found


@pytest.mark.timeout(300)
@pytest.mark.proof
def test_a_reload_under_load_fails_no_request_and_leaves_no_old_process(
    copied: Callable[[], Path], upstream: FakeUpstream
) -> None:
    var_dir = copied()
    env = {"WEB_PROCESSES": "2", "UPSTREAM_BASE_URL": upstream.url, "METRICS_TOKEN": "scraper"}
    with started(var_dir, **env) as service:
        row(
            service,
            "WITH t AS (UPDATE accounts_tier SET rpm = 10^6, tpm = 10^9 RETURNING 1) SELECT count(*) FROM t",
        )
        key = service.line("Demo key: ").split()[-1]
        (credit_micro,) = row(service, "SELECT posted_micro FROM wallet_wallet")
        with Load(f"http://127.0.0.1:{service.port}", key, kept, kept, fresh, official) as load:
            old = crew(service)
            assert [len(processes) for processes in old.values()] == [2, 1, 1]
            service.process.send_signal(signal.SIGUSR1)
            while not (said := service.next_line()).startswith("Reloaded"):
                assert said.startswith(("Reloading", "  Tables", "  Static files"))
            eventually(lambda: [len(processes) for processes in crew(service).values()] == [2, 1, 1])
            assert gone([process for processes in old.values() for process in processes])

        assert len(load.answered) == 5
        asked = load.answered.total()
        assert row(service, "SELECT count(*), sum(cost_micro) FROM proxy_usagerecord") == (
            asked,
            asked * COST_MICRO,
        )
        assert len(upstream.requests) == asked
        # Any process tells what all of them have counted, those that were replaced too.
        eventually(lambda: calls(metrics(service)) == asked)
        figures = metrics(service)
        assert dict(figures)["hamiran_holds_open"] == 0
        assert [value for name, value in figures if name.startswith("hamiran_ledger_waiting{")] == [0, 0]
        assert any(name.startswith("hamiran_task_seconds_count{") for name, _value in figures)
        left = credit_micro - asked * COST_MICRO
        assert row(service, "SELECT posted_micro, held_micro FROM wallet_wallet") == (left, 0)
        assert row(service, "SELECT count(*) FROM wallet_hold") == (0,)
        check = [sys.executable, "manage.py", "check_ledger"]
        subprocess.run(check, cwd=ROOT, env={**os.environ, "HAMIRAN_VAR": str(var_dir)}, check=True)
        service.process.terminate()
        assert service.process.wait(30) == 0


def metrics(service: Service) -> list[tuple[str, float]]:
    headers = {"Authorization": "Bearer scraper"}
    answer = httpx.get(f"http://127.0.0.1:{service.port}/metrics", headers=headers, timeout=30)
    lines = [line for line in answer.raise_for_status().text.splitlines() if not line.startswith("#")]
    return [(name, float(value)) for name, _space, value in (line.rpartition(" ") for line in lines)]


def calls(figures: list[tuple[str, float]]) -> float:
    return sum(value for name, value in figures if name.startswith("hamiran_calls_total{"))


def refuses(service: Service) -> bool:
    try:
        socket.create_connection(("127.0.0.1", service.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_service_that_stops_refuses_connections_and_a_second_signal_tells_who_still_waits(
    copied: Callable[[], Path], upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(chunk({"content": "a"}), 60.0)
    with started(copied(), UPSTREAM_BASE_URL=upstream.url, SHUTDOWN_GRACE_SECONDS="50") as service:
        headers = {"Authorization": f"Bearer {service.line('Demo key: ').split()[-1]}"}
        url = f"http://127.0.0.1:{service.port}/v1/chat/completions"
        with httpx.stream("POST", url, json={**BODY, "stream": True}, headers=headers, timeout=30) as answer:
            lines = answer.iter_lines()
            assert '"content":"a"' in next(lines)
            service.process.send_signal(signal.SIGINT)
            eventually(lambda: refuses(service))
            assert service.process.poll() is None
            service.process.send_signal(signal.SIGINT)
            assert any('"code":"service_unavailable"' in line for line in lines)
        assert service.process.wait(30) == 0
