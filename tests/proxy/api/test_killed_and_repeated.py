"""A web process is killed while it serves, and every request is repeated with its Idempotency-Key: one charge each."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from proxy.idempotency import keeping
from proxy.usage.models import UsageRecord
from tests.fake_upstream import USAGE, FakeUpstream, chunk, stream_events
from tests.live import WebProcess, at_once, eventually, web_process
from tests.proxy.api.conftest import CREDIT, HELLO, INPUT_PRICE, MODEL, OUTPUT_PRICE, Caller
from wallet.ledger import holds

COST = USAGE["prompt_tokens"] * INPUT_PRICE + USAGE["completion_tokens"] * OUTPUT_PRICE
PAUSE_SECONDS = 0.02
EVENTS = [
    *(chunk({"content": letter}) for letter in "abcdefghij"),
    chunk({}, finish="stop"),
    chunk(None, usage=USAGE),
    b"data: [DONE]\n\n",
]
SCRIPT = stream_events(*(part for event in EVENTS for part in (PAUSE_SECONDS, event)))
SPAN_SECONDS = PAUSE_SECONDS * (len(EVENTS) + 4)  # from before the hold until after the last byte


@pytest.fixture
def own_web(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    with django_db_blocker.unblock(), web_process() as process:
        yield process


def body_of(number: int) -> dict[str, object]:
    return {"model": MODEL, "messages": HELLO, "stream": True, "user": str(number)}


def post(http: httpx.Client, caller: Caller, number: int) -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller.key}", "Idempotency-Key": f"number {number}"}
    return http.post(
        f"{caller.web.url}/v1/chat/completions", json=body_of(number), headers=headers, timeout=30
    )


def kill_in_the_middle(caller: Caller, numbers: list[int], *, chosen: random.Random) -> int:
    """Starts these requests so that the kill meets each at another moment; returns how many were answered whole."""
    waits = {number: chosen.uniform(0, SPAN_SECONDS) for number in numbers}
    begun = threading.Barrier(len(numbers) + 1)

    def ask(number: int) -> bool:
        with httpx.Client() as http:
            begun.wait()
            time.sleep(waits[number])
            try:
                return post(http, caller, number).text.endswith("data: [DONE]\n\n")
            except httpx.TransportError:
                return False

    with ThreadPoolExecutor(len(numbers)) as pool:
        asked = [pool.submit(ask, number) for number in numbers]
        begun.wait()
        time.sleep(SPAN_SECONDS)
        caller.web.stop(signal.SIGKILL)
        whole = sum(one.result() for one in asked)
    caller.web.process = caller.web._start()
    return whole


def repeat_until_it_is_final(http: httpx.Client, caller: Caller, number: int) -> str:
    """How its last repeat ended."""
    told = ""

    def is_final() -> bool:
        nonlocal told
        answer = post(http, caller, number)
        if answer.status_code == 200:
            assert answer.text.endswith("data: [DONE]\n\n")
            told = "replayed" if "idempotent-replayed" in answer.headers else "anew"
        elif answer.json()["error"]["code"] == "idempotency_replayed":
            assert answer.json()["error"]["cost_toman"] == COST / 10**7
            told = "named"
        else:
            assert answer.json()["error"]["code"] == "request_in_progress"
            assert 1 <= int(answer.headers["retry-after"]) <= 10
        return bool(told)

    eventually(is_final, seconds=30)
    return told


def as_if_ten_seconds_had_passed(caller: Caller) -> None:
    """What the dead process said last was long ago; no request of a living one is renewed meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE proxy_idempotentrequest SET alive_until = alive_until - interval '10 seconds' WHERE user_id = %s",
            [caller.wallet.pk],
        )


def kill_and_repeat(caller: Caller, *, rounds: int, points: int, chosen: random.Random) -> None:
    told: list[str] = []
    for turn in range(rounds):
        numbers = list(range(turn * points, (turn + 1) * points))
        kill_in_the_middle(caller, numbers, chosen=chosen)
        # Twice each, at once: one of both runs, or none.
        as_if_ten_seconds_had_passed(caller)
        told += at_once(
            lambda http, number: repeat_until_it_is_final(http, caller, number), numbers * 2, threads=8
        )
    total = rounds * points
    paid = UsageRecord.objects.filter(user_id=caller.wallet.pk).exclude(billed_by="nothing")
    assert paid.count() == total
    assert set(paid.values_list("cost_micro", flat=True)) == {COST}
    age_holds(caller)
    assert caller.balance() == (CREDIT - total * COST, 0)
    # In the second round at the latest, each was final.
    assert len(told) == 2 * total
    assert 0 < told.count("anew") < 2 * total


def age_holds(caller: Caller) -> None:
    """Those that nobody repeats, as they were not claimed yet: their time is over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE wallet_hold SET created_at = created_at - interval '1 hour',"
            " expires_at = now() - interval '1 second' WHERE wallet_id = %s",
            [caller.wallet.pk],
        )
    holds.sweep_expired()


@pytest.mark.parametrize(
    "keeps", [False, pytest.param(True, marks=pytest.mark.proof)], ids=["not kept", "kept"]
)
def test_killed_at_some_points_each_is_charged_once(
    caller: Caller, own_web: WebProcess, upstream: FakeUpstream, keeps: bool
) -> None:
    upstream.script = SCRIPT
    if keeps:
        keeping.keep(user_id=caller.wallet.pk, hours=1)
    kill_and_repeat(replace(caller, web=own_web), rounds=1, points=12, chosen=random.Random(keeps))


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("keeps", [False, True], ids=["not kept", "kept"])
def test_killed_at_a_hundred_points_each_is_charged_once(
    caller: Caller, own_web: WebProcess, upstream: FakeUpstream, keeps: bool
) -> None:
    upstream.script = SCRIPT
    if keeps:
        keeping.keep(user_id=caller.wallet.pk, hours=1)
    kill_and_repeat(replace(caller, web=own_web), rounds=10, points=10, chosen=random.Random(7 + keeps))


def test_a_process_that_only_seemed_dead_charges_nothing(
    caller: Caller, web: WebProcess, own_web: WebProcess, upstream: FakeUpstream
) -> None:
    """It was frozen for too long: another has voided its hold and served the repeat by then."""
    go_on = threading.Event()
    upstream.script = stream_events(*EVENTS[:3], go_on, *EVENTS[3:])
    frozen = replace(caller, web=own_web)
    said = bytearray()
    with (
        frozen.http as http,
        http.stream(
            "POST", "/chat/completions", json=body_of(1), headers={"Idempotency-Key": "number 1"}
        ) as answer,
    ):
        pieces = answer.iter_raw()
        said += next(pieces)
        own_web.process.send_signal(signal.SIGSTOP)
        try:
            as_if_ten_seconds_had_passed(caller)
            upstream.script = SCRIPT
            with httpx.Client() as elsewhere:
                assert repeat_until_it_is_final(elsewhere, caller, 1) == "anew"
        finally:
            own_web.process.send_signal(signal.SIGCONT)
        go_on.set()
        for piece in pieces:
            said += piece
    assert b'"error"' in said
    assert caller.balance() == (CREDIT - COST, 0)
    assert caller.usage().cost_micro == COST
