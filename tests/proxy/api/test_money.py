"""Money under the API: what is held, what is captured, who is refused, and what a kill leaves behind."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import connections
from django.utils import timezone

from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, answer_whole, chunk, stream_events
from tests.live import eventually, web_process
from tests.proxy.api.conftest import (
    CREDIT,
    FREE_MODEL,
    HELLO,
    INPUT_PRICE,
    MAX_OUTPUT,
    MODEL,
    OUTPUT_PRICE,
    OVERRUN_MODEL,
    Caller,
)
from wallet.ledger import holds
from wallet.ledger.models import Hold

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
DETAILS = {
    "input": {"quantity": 12, "toman": 12 * INPUT_PRICE / 10**7},
    "output": {"quantity": 9, "toman": 9 * OUTPUT_PRICE / 10**7},
}


def test_a_whole_answer_is_paid_for_and_passed_on_as_it_is(caller: Caller, upstream: FakeUpstream) -> None:
    response = caller.ask(temperature=1.5, seed=7, extra={"deep": [1, 2.5, None, "متن"]})
    assert response.json()["usage"] == {
        "prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21,
        "cost_toman": COST / 10**7, "cost_details": DETAILS,
    }  # fmt: skip
    assert response.headers["x-hamiran-cost-toman"] == "0.0039"
    assert upstream.requests == [
        {
            "model": "up-model",
            "messages": HELLO,
            "temperature": 1.5,
            "seed": 7,
            "extra": {"deep": [1, 2.5, None, "متن"]},
            "max_tokens": MAX_OUTPUT,
        }
    ]
    assert upstream.headers[0]["authorization"] == "Bearer sk-upstream-secret"
    assert caller.key not in str(upstream.headers)
    assert caller.balance() == (CREDIT - COST, 0)
    entry = caller.wallet.entries.get(kind="completion")
    assert (entry.transaction_id.hex, entry.amount_micro) == (response.headers["x-request-id"], -COST)
    usage = caller.usage()
    assert usage.id == entry.transaction_id
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cost_micro, usage.status) == (
        12,
        9,
        COST,
        200,
    )


def test_an_answer_without_usage_is_billed_by_estimate(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = answer_whole("four words in here", usage=None)
    caller.ask()
    usage = caller.usage()
    assert (usage.billed_by, usage.completion_tokens) == ("estimate", 5)
    assert usage.cost_micro == usage.prompt_tokens * INPUT_PRICE + 5 * OUTPUT_PRICE


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": "x"},
        "many",
        {"prompt_tokens": 2**60, "completion_tokens": 1},
    ],
)
def test_usage_that_cannot_be_true_is_not_believed(
    caller: Caller, upstream: FakeUpstream, usage: Any
) -> None:
    upstream.script = answer_whole("text", usage=usage)
    assert caller.ask().status_code == 200
    assert caller.usage().billed_by == "estimate"


def test_what_upstream_reports_beyond_the_hold_is_the_operators_loss(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = answer_whole(
        "x", usage={"prompt_tokens": 12, "completion_tokens": 5000, "total_tokens": 5012}
    )
    answer = caller.ask(model=OVERRUN_MODEL, max_tokens=10)
    assert answer.status_code == 200
    usage = caller.usage()
    assert usage.uncovered_micro > 0
    assert answer.json()["usage"]["cost_toman"] == usage.cost_micro / 10**7
    assert answer.json()["usage"]["cost_details"]["not_charged"] == {"toman": -usage.uncovered_micro / 10**7}
    assert usage.cost_micro + usage.uncovered_micro == 12 * INPUT_PRICE + 5000 * OUTPUT_PRICE
    assert caller.balance()[0] == CREDIT - usage.cost_micro


def held_during(caller: Caller, upstream: FakeUpstream, **fields: Any) -> int:
    """What is held while upstream works on a request."""
    looked = threading.Event()
    upstream.script = stream_events(chunk({"content": "a"}), looked, chunk({}, finish="stop"))
    body = {"model": MODEL, "messages": HELLO, "stream": True, **fields}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        hold = Hold.objects.get(wallet=caller.wallet)
        looked.set()
        assert b"".join(parts).endswith(b"data: [DONE]\n\n")
    return hold.amount_micro


def test_the_worst_case_is_held(caller: Caller, upstream: FakeUpstream) -> None:
    held = held_during(caller, upstream, max_tokens=100)
    prompt_micro = held - 100 * OUTPUT_PRICE
    assert 0 < prompt_micro < 500 * INPUT_PRICE


def test_without_a_limit_the_models_longest_answer_is_held(caller: Caller, upstream: FakeUpstream) -> None:
    assert held_during(caller, upstream) > MAX_OUTPUT * OUTPUT_PRICE


def test_several_answers_multiply_the_hold(caller: Caller, upstream: FakeUpstream) -> None:
    assert held_during(caller, upstream, n=3, max_completion_tokens=100) > 300 * OUTPUT_PRICE


def test_output_is_capped_to_what_the_wallet_covers(make_caller: Any, upstream: FakeUpstream) -> None:
    caller = make_caller(credit_micro=500 * INPUT_PRICE + 500 * OUTPUT_PRICE)
    assert caller.ask().status_code == 200
    assert 300 < upstream.requests[0]["max_tokens"] < 800
    assert caller.ask(max_tokens=1000).status_code == 402  # the client's own limit is not cut down


def test_below_the_floor_the_answer_is_402(make_caller: Any, upstream: FakeUpstream) -> None:
    caller = make_caller(credit_micro=200 * OUTPUT_PRICE)
    assert caller.ask().status_code == 402
    assert upstream.requests == []


def test_a_free_model_needs_no_balance(make_caller: Any) -> None:
    caller = make_caller(credit_micro=0)
    assert caller.ask(model=FREE_MODEL).status_code == 200
    assert caller.balance() == (0, 0)
    assert caller.usage().cost_micro == 0


def test_two_hundred_at_once_over_two_processes_on_a_wallet_that_covers_fifty(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    probe = make_caller()
    held = held_during(probe, upstream, max_tokens=100)
    # Each answer costs exactly its hold's worth, so that nothing that was given back can pay for a later one.
    prompt_tokens = (held - 100 * OUTPUT_PRICE) // INPUT_PRICE
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 100, "total_tokens": prompt_tokens + 100}
    upstream.script = stream_events(
        chunk({"content": "a"}), 0.3, chunk({}, finish="stop"), chunk(None, usage=usage), b"data: [DONE]\n\n"
    )
    caller = make_caller(credit_micro=held * 50)
    body = {"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 100}
    headers = {"Authorization": f"Bearer {caller.key}"}
    with web_process() as other, ThreadPoolExecutor(50) as pool:
        urls = [f"{web.url}/v1/chat/completions" for web in (caller.web, other)] * 100
        asked = [pool.submit(httpx.post, url, json=body, headers=headers, timeout=60) for url in urls]
        statuses = [answer.result().status_code for answer in asked]
    assert (statuses.count(200), statuses.count(402)) == (50, 150)
    assert caller.balance() == (0, 0)


def test_a_killed_web_process_charges_nothing_and_its_holds_are_swept(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = stream_events(chunk({"content": "a"}), 30.0)
    with web_process() as doomed:
        headers = {"Authorization": f"Bearer {caller.key}"}
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with httpx.stream(
            "POST", f"{doomed.url}/v1/chat/completions", json=body, headers=headers
        ) as response:
            parts = response.iter_raw()
            next(parts)
            doomed.stop(signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                next(parts)
    assert caller.balance()[1] > 0
    holds.sweep_expired()
    assert caller.balance()[1] > 0  # not expired yet: somebody may still work on it
    hold = Hold.objects.get(wallet=caller.wallet)
    Hold.objects.filter(pk=hold.pk).update(
        created_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now()
    )
    assert holds.sweep_expired() >= 1
    assert caller.balance() == (CREDIT, 0)


def test_sigterm_settles_what_runs_and_says_so_in_the_stream(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = stream_events(chunk({"content": "a"}), 30.0)
    with web_process() as stopping:
        headers = {"Authorization": f"Bearer {caller.key}"}
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with httpx.stream(
            "POST", f"{stopping.url}/v1/chat/completions", json=body, headers=headers, timeout=30
        ) as response:
            parts = response.iter_raw()
            next(parts)
            stopping.process.send_signal(signal.SIGTERM)
            rest = b"".join(parts)
        assert stopping.process.wait(20) == 0
    assert b'"code":"service_unavailable"' in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    assert caller.balance() == (CREDIT, 0)
    assert caller.usage().outcome == "interrupted"


def test_sigterm_answers_a_whole_request_in_the_apis_own_shape(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = stream_events(30.0)
    with web_process() as stopping, ThreadPoolExecutor(1) as pool:
        headers = {"Authorization": f"Bearer {caller.key}"}
        body = {"model": MODEL, "messages": HELLO}
        url = f"{stopping.url}/v1/chat/completions"
        asked = pool.submit(lambda: httpx.post(url, json=body, headers=headers, timeout=30))
        eventually(lambda: upstream.requests)
        stopping.process.send_signal(signal.SIGTERM)
        answer = asked.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert caller.balance() == (CREDIT, 0)


def test_a_stream_that_ends_within_the_grace_is_not_disturbed_by_sigterm(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = stream_events(chunk({"content": "a"}), 1.0, chunk({}, finish="stop"))
    with web_process() as stopping:
        headers = {"Authorization": f"Bearer {caller.key}"}
        body = {"model": MODEL, "messages": HELLO, "stream": True}
        with httpx.stream(
            "POST", f"{stopping.url}/v1/chat/completions", json=body, headers=headers
        ) as response:
            parts = response.iter_raw()
            next(parts)
            stopping.process.send_signal(signal.SIGTERM)
            rest = b"".join(parts)
    assert b"error" not in rest
    assert caller.usage().outcome == "completed"


def test_a_database_that_dies_under_the_process_loses_nothing(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    """Every connection of the web process is cut while an answer is on its way: it is captured all the same."""
    caller = make_caller()
    upstream.script = stream_events(chunk({"content": "a"}), 0.5, *[chunk({}, finish="stop")])
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        parts = response.iter_raw()
        next(parts)
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        rest = b"".join(parts)
    assert rest.endswith(b"data: [DONE]\n\n")
    assert caller.usage().outcome == "completed"
    assert caller.balance()[0] == CREDIT - caller.usage().cost_micro
    upstream.script = answer_whole()
    eventually(lambda: caller.ask().status_code == 200)  # the first may still meet a dead connection: 503
    assert UsageRecord.objects.filter(key_id=caller.key_id, outcome="completed").count() == 2
    # So may those whose keys are looked up next, over as many connections as are kept for that.
    eventually(lambda: {make_caller().ask().status_code for _ in range(4)} == {200})
