"""Each row of the public rules (proxy.dashboard.docs.endings) is brought about: what it costs, what a repeat gets.

One web process of its own, which reaches PostgreSQL through a proxy that can be cut, serves them all.
"""

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection
from django.utils import translation
from pytest_django import DjangoDbBlocker

from config import embedded
from proxy.dashboard.docs.endings import ENDINGS, WORDS, Ending, Repeat, Rule
from proxy.idempotency import claims, keeping
from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, USAGE, FakeUpstream, answer_whole, chunk, respond, stream_events
from tests.fault_proxy import POSTGRES_SOCKET, FaultProxy, FaultThread, faulty
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import (
    DRAINED_MODEL,
    HELLO,
    INPUT_PRICE,
    MODEL,
    OUTPUT_PRICE,
    SLICE,
    SLICED_MODEL,
    Caller,
)

pytestmark = pytest.mark.slow

STREAM_SECONDS = 3
QUICK_KEPT = {"whole", "left"}  # of answers that are kept, these two are always tried
COST = USAGE["prompt_tokens"] * INPUT_PRICE + USAGE["completion_tokens"] * OUTPUT_PRICE
PROMPT_MICRO = 200 * INPUT_PRICE


@pytest.fixture(scope="module")
def to_postgres() -> Iterator[tuple[FaultThread, Path]]:
    sockets = embedded.socket_dir(Path(os.environ["HAMIRAN_VAR"]))
    with tempfile.TemporaryDirectory(prefix="hamiran-endings-") as made:
        folder = Path(made)
        with faulty(listen=folder / POSTGRES_SOCKET, server=sockets / POSTGRES_SOCKET) as proxy:
            yield proxy, folder


@pytest.fixture(scope="module")
def behind(
    web: WebProcess,  # makes what is on sale
    to_postgres: tuple[FaultThread, Path],
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[WebProcess]:
    with django_db_blocker.unblock():
        database = connection.settings_dict
        env = {
            "DATABASE_URL": f"postgresql://{database['USER']}@/{database['NAME']}?host={to_postgres[1]}",
            "UPSTREAM_IDLE_TIMEOUT_SECONDS": "2",
            "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "2",
            "UPSTREAM_STREAM_TIMEOUT_SECONDS": str(STREAM_SECONDS),
            "SHUTDOWN_GRACE_SECONDS": "1",
        }
        with web_process(env=env) as process:
            yield process


@dataclass
class Case:
    """One ending: `fields` are the request's, `go_on` lets an upstream that waits for it go on."""

    caller: Caller
    upstream: FakeUpstream
    database: FaultThread
    fields: dict[str, Any] = field(default_factory=dict)
    first: httpx.Response | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    open: list[tuple[httpx.Client, httpx.Response, Iterator[bytes]]] = field(default_factory=list)

    def ask(self, **fields: Any) -> httpx.Response:
        with self.caller.http as http:
            return http.post(
                "/chat/completions",
                json={"model": MODEL, "messages": HELLO, **self.fields, **fields},
                headers={"Idempotency-Key": "once"},
            )

    def leave(self, *, after: int, seconds: float = 0.4) -> None:
        """Asks, and goes: after so many pieces of the answer, or after this time where none comes."""
        with (
            self.caller.http as http,
            http.stream(
                "POST",
                "/chat/completions",
                json={"model": MODEL, "messages": HELLO, **self.fields},
                headers={"Idempotency-Key": "once"},
                timeout=httpx.Timeout(30, read=seconds) if not after else 30,
            ) as answer,
        ):
            pieces = answer.iter_raw()
            for _ in range(after):
                next(pieces)

    def is_asked(self) -> None:
        eventually(lambda: self.upstream.requests)

    def settled(self) -> bool:
        return UsageRecord.objects.filter(user_id=self.caller.wallet.pk).exists()

    def begin(self) -> Iterator[bytes]:
        """A stream that has begun, and stays."""
        http = self.caller.http
        request = http.build_request(
            "POST",
            "/chat/completions",
            json={"model": MODEL, "messages": HELLO, **self.fields},
            headers={"Idempotency-Key": "once"},
        )
        answer = http.send(request, stream=True)
        pieces = answer.iter_raw()
        assert next(pieces)
        self.open.append((http, answer, pieces))  # which close it once nobody has them
        return pieces

    def restart(self) -> None:
        self.caller.web.process = self.caller.web._start()


Scenario = Callable[[Case], None]
SCENARIOS: dict[str, Scenario] = {}


def brings_about(slug: str) -> Callable[[Scenario], Scenario]:
    def keep(scenario: Scenario) -> Scenario:
        SCENARIOS[slug] = scenario
        return scenario

    return keep


def streams(case: Case, *parts: Any, **more: Any) -> None:
    case.fields = {"stream": True, **more}
    case.upstream.script = stream_events(*parts)


@brings_about("whole")
def whole(case: Case) -> None:
    streams(case, *STREAM)
    case.first = case.ask()
    assert case.first.status_code == 200


@brings_about("running")
def running(case: Case) -> None:
    streams(case, *STREAM[:2], case.go_on, *STREAM[2:])
    case.begin()


@brings_about("another-body")
def another_body(case: Case) -> None:
    assert case.ask().status_code == 200
    case.fields = {"temperature": 1}


@brings_about("left-before")
def left_before(case: Case) -> None:
    streams(case, case.go_on, *STREAM)
    with pytest.raises(httpx.ReadTimeout):
        case.leave(after=0)
    case.is_asked()
    if not keeping.of(user_id=case.caller.wallet.pk).hours:
        eventually(case.settled)
    case.go_on.set()
    eventually(case.settled)


@brings_about("left")
def left(case: Case) -> None:
    streams(case, *STREAM[:2], case.go_on, *STREAM[2:])
    case.leave(after=1)
    if not keeping.of(user_id=case.caller.wallet.pk).hours:
        eventually(case.settled)
    case.go_on.set()
    eventually(case.settled)


@brings_about("left-undrained")
def left_undrained(case: Case) -> None:
    streams(case, *STREAM[:2], case.go_on, *STREAM[2:], model=DRAINED_MODEL)
    case.leave(after=1)
    case.go_on.set()
    eventually(case.settled)


@brings_about("left-whole")
def left_whole(case: Case) -> None:
    said = answer_whole()

    async def script(request: Any, writer: Any) -> None:
        await asyncio.to_thread(case.go_on.wait, 10)
        await said(request, writer)

    case.upstream.script = script
    with pytest.raises(httpx.ReadTimeout):
        case.leave(after=0)
    case.go_on.set()
    eventually(case.settled)


@brings_about("upstream-failed")
def upstream_failed(case: Case) -> None:
    case.upstream.script = respond(500, {"error": {"message": "out of order"}})
    assert case.ask().status_code == 502


@brings_about("upstream-died")
def upstream_died(case: Case) -> None:
    case.fields = {"stream": True}
    case.upstream.script = stream_events(*STREAM[:3], cut=True)
    assert '"upstream_error"' in case.ask().text


@brings_about("silent")
def silent(case: Case) -> None:
    streams(case, *STREAM[:2], 5.0)
    assert '"upstream_error"' in case.ask().text


@brings_about("out-of-time")
def out_of_time(case: Case) -> None:
    streams(case, *STREAM[:2], *(part for _ in range(20) for part in (0.4, chunk({"content": "on "}))))
    case.first = case.ask()
    assert '"finish_reason":"length"' in case.first.text


@brings_about("out-of-money")
def out_of_money(case: Case) -> None:
    long = [chunk({"content": "0123456789"})] * 300
    streams(case, *long, *STREAM[3:], model=SLICED_MODEL, max_tokens=40_000)
    case.first = case.ask()
    assert '"insufficient_balance"' in case.first.text


@brings_about("refused")
def refused(case: Case) -> None:
    assert case.ask(max_tokens="many").status_code == 400


@brings_about("refused-by-model")
def refused_by_model(case: Case) -> None:
    case.upstream.script = respond(400, {"error": {"message": "No such voice.", "code": "no"}})
    assert case.ask().status_code == 400


@brings_about("stopped")
def stopped(case: Case) -> None:
    streams(case, *STREAM[:2], case.go_on, *STREAM[2:])
    pieces = case.begin()
    case.caller.web.stop(signal.SIGTERM)
    assert b'"service_unavailable"' in b"".join(pieces)
    case.restart()


@brings_about("killed")
def killed(case: Case) -> None:
    streams(case, *STREAM[:2], case.go_on, *STREAM[2:])
    case.begin()
    case.caller.web.stop(signal.SIGKILL)
    case.go_on.set()
    case.restart()


@brings_about("killed-after")
def killed_after(case: Case) -> None:
    streams(case, *STREAM)
    case.first = case.ask()
    case.caller.web.stop(signal.SIGKILL)
    case.restart()


@brings_about("unavailable")
def unavailable(case: Case) -> None:
    assert case.ask(model="nothing").status_code == 404  # the API key is known by now
    case.database.do(FaultProxy.stall)
    assert case.ask().status_code == 503


@pytest.fixture
def case(
    request: pytest.FixtureRequest,
    make_caller: Callable[..., Caller],
    upstream: FakeUpstream,
    behind: WebProcess,
    to_postgres: tuple[FaultThread, Path],
) -> Iterator[Case]:
    is_poor = "out-of-money" in request.node.name
    caller = make_caller(credit_micro=3 * SLICE * OUTPUT_PRICE + PROMPT_MICRO) if is_poor else make_caller()
    case = Case(replace(caller, web=behind), upstream, to_postgres[0])
    yield case
    case.go_on.set()
    case.database.do(FaultProxy.heal)
    for http, answer, _pieces in case.open:
        answer.close()
        http.close()


def rows() -> Iterator[Any]:
    """Those that take long, and most with kept answers, are left to `make proofs`."""
    for ending in ENDINGS:
        for keeps in (False, True):
            is_quick = ending.slug != "unavailable" and (not keeps or ending.slug in QUICK_KEPT)
            name = f"{ending.slug}-{'kept' if keeps else 'plain'}"
            yield pytest.param(ending, keeps, id=name, marks=[] if is_quick else [pytest.mark.proof])


@pytest.mark.parametrize(("ending", "keeps"), list(rows()))
def test_every_ending_is_billed_and_repeated_as_the_rules_say(
    case: Case, ending: Ending, keeps: bool
) -> None:
    user_id = case.caller.wallet.pk
    if keeps:
        keeping.keep(user_id=user_id, hours=1)
    SCENARIOS[ending.slug](case)
    rule = ending.kept if keeps else ending.plain
    paid = UsageRecord.objects.filter(user_id=user_id).exclude(billed_by="nothing")
    assert paid.exists() == rule.is_charged
    before_micro = sum(record.cost_micro for record in paid)
    check_repeat(case, rule, first_micro=before_micro)


def check_repeat(case: Case, rule: Rule, *, first_micro: int) -> None:
    asked, (credit_micro, _held_micro) = len(case.upstream.requests), case.caller.balance()
    if rule.repeat is not Repeat.RUNNING:
        case.upstream.script = stream_events(*STREAM) if case.fields.get("stream") else answer_whole()
    repeat = case.ask()
    told = repeat.json()["error"] if repeat.status_code != 200 else {}
    assert told.get("code") == rule.repeat.code, repeat.text
    if rule.repeat is Repeat.NAMED:
        assert told["cost_toman"] == first_micro / 10**7
    elif rule.repeat is Repeat.REPLAYED:
        assert repeat.headers["idempotent-replayed"] == "true"
        assert repeat.content.endswith((b"data: [DONE]\n\n", b"}"))
        assert case.first is None or repeat.content == case.first.content
    elif rule.repeat is Repeat.LATER:
        assert 1 <= int(repeat.headers["retry-after"]) <= claims.ALIVE_SECONDS
        with translation.override("en"):
            assert str(claims.ALIVE_SECONDS) in str(WORDS[Repeat.LATER])
        as_if_it_had_been_silent(case)
    elif rule.repeat is Repeat.UNAVAILABLE:
        case.database.do(FaultProxy.heal)
    if rule.repeat in {Repeat.LATER, Repeat.UNAVAILABLE}:
        eventually(lambda: case.ask().status_code == 200)
    runs_anew = rule.repeat in {Repeat.ANEW, Repeat.LATER, Repeat.UNAVAILABLE}
    assert len(case.upstream.requests) == asked + runs_anew
    assert case.caller.balance()[0] == credit_micro - (COST if runs_anew else 0)


def as_if_it_had_been_silent(case: Case) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE proxy_idempotentrequest SET alive_until = now() - interval '1 second' WHERE user_id = %s",
            [case.caller.wallet.pk],
        )


def test_the_rules_have_a_scenario_each_and_no_other() -> None:
    assert set(SCENARIOS) == {ending.slug for ending in ENDINGS}
