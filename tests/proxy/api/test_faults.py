"""Broken connections to the engines: without Valkey a web process serves, without PostgreSQL it says 503."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import psycopg_pool
import pytest
import redis
from django.db import OperationalError as DjangoOperationalError
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from config import embedded
from proxy.http.responses import exception_handler
from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, answer_whole, stream_events
from tests.fault_proxy import POSTGRES_SOCKET, FaultProxy, FaultThread, faulty
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import CREDIT, HELLO, MODEL, Caller, served_without_valkey
from tests.valkey_servers import Server, server
from wallet.ledger import holds
from wallet.ledger.models import Wallet

Fault = Callable[[FaultProxy], None]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hamiran-faults-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def valkey_alone() -> Iterator[Server]:
    with server() as one:
        yield one


@pytest.fixture(scope="module")
def to_valkey(folder: Path, valkey_alone: Server) -> Iterator[FaultThread]:
    with faulty(listen=folder / "valkey", server=valkey_alone.folder / "socket") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def to_postgres(folder: Path) -> Iterator[FaultThread]:
    sockets = embedded.socket_dir(Path(os.environ["HAMIRAN_VAR"]))
    with faulty(listen=folder / POSTGRES_SOCKET, server=sockets / POSTGRES_SOCKET) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def behind(
    web: WebProcess,  # makes what is on sale
    folder: Path,
    to_valkey: FaultThread,
    to_postgres: FaultThread,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[WebProcess]:
    """A web process that reaches both engines through proxies that fail on request."""
    with django_db_blocker.unblock():
        database = connection.settings_dict
        env = {
            "REDIS_URL": f"unix://{folder}/valkey",
            "DATABASE_URL": f"postgresql://{database['USER']}@/{database['NAME']}?host={folder}",
            "METRICS_TOKEN": "scraper",
        }
        with web_process(env=env) as process:
            yield process


def ask(web: WebProcess, caller: Caller, *, stream: bool = False) -> httpx.Response:
    return httpx.post(
        f"{web.url}/v1/chat/completions",
        json={"model": MODEL, "messages": HELLO, "stream": stream},
        headers={"Authorization": f"Bearer {caller.key}"},
        timeout=30,
    )


@contextmanager
def load(web: WebProcess, caller: Caller) -> Iterator[list[httpx.Response]]:
    """Requests, every other one streamed, six at a time, for the length of a block and for five answers at least."""
    answers: list[httpx.Response] = []
    enough = threading.Event()

    def keep_asking(number: int) -> None:
        while not enough.is_set():
            number += 1
            answers.append(ask(web, caller, stream=bool(number % 2)))

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(keep_asking, number) for number in range(6)]
        try:
            eventually(lambda: len(answers) >= 5)
            yield answers
        finally:
            enough.set()
        for one in asking:
            one.result()


@pytest.fixture(autouse=True)
def streams_and_whole_answers(make_caller: Callable[..., Caller], upstream: FakeUpstream) -> None:
    whole, events = answer_whole(), stream_events(*STREAM)

    async def either(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await (events if request.get("stream") else whole)(request, writer)

    upstream.script = either


SILENT: dict[str, Fault] = {"stall": FaultProxy.stall, "answers lost": FaultProxy.lose_replies}
BROKEN: dict[str, Fault] = {
    "cut": FaultProxy.cut,
    "closed by the server": FaultProxy.half_close,
    "nonsense": FaultProxy.talk_nonsense,
}


@pytest.mark.parametrize("fault", [*SILENT, *BROKEN])
def test_no_request_fails_because_of_valkey(
    make_caller: Callable[..., Caller], behind: WebProcess, to_valkey: FaultThread, fault: str
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000, concurrency=1000)
    before, logged = served_without_valkey(behind), len(behind.log)
    with load(behind, caller) as answers:
        to_valkey.do({**SILENT, **BROKEN}[fault])
        if fault in SILENT:
            eventually(lambda: served_without_valkey(behind) > before)
        reached = len(answers)
        eventually(lambda: len(answers) >= reached + 10)
        to_valkey.do(FaultProxy.heal)
    assert {answer.status_code for answer in answers} == {200}
    assert all(b"error" not in answer.content for answer in answers)

    def shared_again() -> bool:
        alone = served_without_valkey(behind)
        ask(behind, caller)
        return served_without_valkey(behind) == alone

    eventually(shared_again)
    log = behind.log[logged:]
    if served_without_valkey(behind) > before:
        assert '"level":"ERROR","logger":"proxy.limits.limiter","message":"valkey away' in log
        assert "valkey back: limits are shared again" in log
    else:
        assert fault in BROKEN  # between two requests the client notices, and connects anew


def test_limits_hold_by_the_process_alone_and_are_shared_afterwards(
    make_caller: Callable[..., Caller], behind: WebProcess, to_valkey: FaultThread
) -> None:
    caller = make_caller(rpm=3)
    to_valkey.do(FaultProxy.stall)
    assert [ask(behind, caller).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    to_valkey.do(FaultProxy.heal)
    eventually(lambda: ask(behind, caller).status_code == 200)


@pytest.mark.parametrize(
    "fault",
    [FaultProxy.cut, FaultProxy.half_close, FaultProxy.lose_replies],
    ids=lambda fault: fault.__name__,
)
def test_without_postgresql_nothing_is_lost_and_nobody_pays_twice(
    make_caller: Callable[..., Caller], behind: WebProcess, to_postgres: FaultThread, fault: Fault
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    with load(behind, caller) as answers:
        for _ in range(3):
            swallowed = to_postgres.proxy.swallowed
            to_postgres.do(fault)
            if fault is FaultProxy.lose_replies:
                eventually(lambda swallowed=swallowed: to_postgres.proxy.swallowed > swallowed)  # type: ignore[misc]
            to_postgres.do(FaultProxy.heal)
            reached = len(answers)
            eventually(lambda reached=reached: len(answers) > reached, seconds=30)  # type: ignore[misc]

    def works_again() -> bool:
        answers.append(ask(behind, caller))
        return answers[-1].status_code == 200

    eventually(works_again)
    for answer in answers:
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
            assert int(answer.headers["retry-after"]) > 0
    refused = {answer.headers["x-request-id"] for answer in answers if answer.status_code == 503}
    eventually(lambda: {hold.pk.hex for hold in caller.wallet.holds.all()} <= refused)
    # A hold that PostgreSQL carries out only after its own void, sent on another connection, goes with its expiry.
    caller.wallet.holds.update(created_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now())
    holds.sweep_expired()
    records = list(UsageRecord.objects.filter(key_id=caller.key_id, outcome="completed"))
    served = [answer for answer in answers if answer.status_code == 200 and b'"error"' not in answer.content]
    assert len(records) == len(served)
    assert caller.balance() == (CREDIT - sum(record.cost_micro for record in records), 0)


def test_while_postgresql_hangs_requests_are_told_to_come_back(
    make_caller: Callable[..., Caller], behind: WebProcess, to_postgres: FaultThread, upstream: FakeUpstream
) -> None:
    caller = make_caller()  # whose key this process has never seen
    to_postgres.do(FaultProxy.stall)
    try:
        answer = ask(behind, caller)
    finally:
        to_postgres.do(FaultProxy.heal)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert upstream.requests == []
    eventually(lambda: ask(behind, caller).status_code == 200)


def test_while_a_settlement_waits_for_too_long_nothing_new_is_called(
    make_caller: Callable[..., Caller], behind: WebProcess, to_postgres: FaultThread, upstream: FakeUpstream
) -> None:
    """One transaction sits on a wallet that has to pay; everything else of the database answers."""
    payer, other = make_caller(), make_caller()
    upstream.script = stream_events(STREAM[0], 0.3, *STREAM[1:])
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {payer.key}"}
    with httpx.stream(
        "POST", f"{behind.url}/v1/chat/completions", json=body, headers=headers, timeout=60
    ) as response:
        parts = response.iter_raw()
        next(parts)
        with transaction.atomic():
            Wallet.objects.select_for_update().get(pk=payer.wallet.pk)

            def readiness() -> httpx.Response:
                return httpx.get(f"{behind.url}/readyz", timeout=30)

            eventually(lambda: readiness().status_code == 503)
            assert readiness().json()["checks"]["settlements"] == "late"
            called = len(upstream.requests)
            refused = ask(behind, other)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert len(upstream.requests) == called
        assert b"".join(parts).endswith(b"data: [DONE]\n\n")  # and the one that waited is paid and whole
    upstream.script = answer_whole()
    eventually(lambda: readiness().status_code == 200)
    assert ask(behind, other).status_code == 200
    assert payer.usage().outcome == "completed"


def test_an_answer_whose_hold_is_gone_is_an_outage_and_costs_nothing(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Its hold expires while upstream thinks, as after a machine has slept for an hour."""
    answer = answer_whole()

    async def expire_and_answer(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        def expire() -> None:
            caller.wallet.holds.update(
                created_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now()
            )
            holds.sweep_expired()
            connection.close()

        await asyncio.to_thread(expire)
        await answer(request, writer)

    upstream.script = expire_and_answer
    refused = caller.ask()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert caller.balance() == (CREDIT, 0)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (psycopg_pool.PoolTimeout("no connection"), 503),
        (psycopg_pool.PoolClosed("stopping"), 503),
        (psycopg.errors.AdminShutdown("terminating connection"), 503),
        (psycopg.InterfaceError("the connection is closed"), 503),
        (DjangoOperationalError("away"), 503),
        (holds.HoldGone("expired"), 503),
        (holds.LedgerUnavailable("full"), 503),
        (redis.ConnectionError("away"), 503),
        (TimeoutError(), 503),
        (ConnectionResetError(), 503),
        (psycopg.errors.CheckViolation("a rule of ours"), 500),
        (KeyError("a defect of ours"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_passes_is_told_with_503_and_a_defect_with_500(failure: Exception, status: int) -> None:
    response = exception_handler(failure, {})
    assert response.status_code == status
    assert ("Retry-After" in response.headers) == (status == 503)
