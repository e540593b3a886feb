"""Repeats of a request with the same Idempotency-Key: one charge, however many there are."""

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from django.db import connection

from keys import lifecycle
from keys.projects import people, projects
from keys.rules import KeyRules
from proxy.idempotency import claims, keeping
from proxy.idempotency.models import IdempotentRequest, KeptAnswer
from proxy.usage.models import UsageRecord
from tests.factories import UserFactory
from tests.fake_upstream import STREAM, USAGE, FakeUpstream, answer_whole, respond, stream_events
from tests.live import at_once, eventually
from tests.proxy.api.conftest import (
    CREDIT,
    DRAINED_MODEL,
    FREE_MODEL,
    HELLO,
    INPUT_PRICE,
    MODEL,
    OUTPUT_PRICE,
    Caller,
)

COST = USAGE["prompt_tokens"] * INPUT_PRICE + USAGE["completion_tokens"] * OUTPUT_PRICE


@pytest.fixture
def key() -> str:
    return secrets.token_hex(8)


def ask(caller: Caller, key: str, **fields: Any) -> httpx.Response:
    with caller.http as http:
        return http.post(
            "/chat/completions",
            json={"model": MODEL, "messages": HELLO, **fields},
            headers={"Idempotency-Key": key},
        )


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def charged(caller: Caller) -> int:
    return CREDIT - caller.balance()[0]


# --- without the store -----------------------------------------------------------------------------------------------


def test_a_repeat_of_a_finished_request_names_the_first_one_and_its_cost(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    first = ask(caller, key)
    assert first.status_code == 200
    assert "idempotent-replayed" not in first.headers
    for _ in range(2):
        repeat = ask(caller, key)
        assert error_of(repeat) == (409, "idempotency_replayed")
        error = repeat.json()["error"]
        assert (error["request_id"], error["cost_toman"]) == (first.headers["x-request-id"], COST / 10**7)
        assert repeat.headers["x-hamiran-original-request-id"] == first.headers["x-request-id"]
        assert repeat.headers["x-hamiran-cost-toman"] == first.headers["x-hamiran-cost-toman"]
        assert repeat.headers["x-should-retry"] == "false"
        assert repeat.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(upstream.requests) == 1
    assert charged(caller) == COST


def test_another_body_under_the_same_key_is_refused(caller: Caller, key: str, upstream: FakeUpstream) -> None:
    assert ask(caller, key).status_code == 200
    assert error_of(ask(caller, key, stream=True)) == (422, "idempotency_mismatch")
    assert error_of(ask(caller, key, temperature=1)) == (422, "idempotency_mismatch")
    assert charged(caller) == COST


def test_the_same_body_at_another_endpoint_is_another_request(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    assert ask(caller, key).status_code == 200
    with caller.http as http:
        there = http.post(
            "/responses", json={"model": MODEL, "messages": HELLO}, headers={"Idempotency-Key": key}
        )
    assert error_of(there) == (422, "idempotency_mismatch")


def test_while_the_first_one_runs_a_repeat_is_told_when_to_come_back(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    go_on = threading.Event()
    upstream.script = stream_events(*STREAM[:2], go_on, *STREAM[2:])
    with (
        caller.http as http,
        http.stream(
            "POST",
            "/chat/completions",
            json={"model": MODEL, "messages": HELLO, "stream": True},
            headers={"Idempotency-Key": key},
        ) as running,
    ):
        pieces = running.iter_raw()
        next(pieces)
        repeat = ask(caller, key, stream=True)
        assert error_of(repeat) == (409, "request_in_progress")
        assert 1 <= int(repeat.headers["retry-after"]) <= claims.ALIVE_SECONDS
        assert "x-should-retry" not in repeat.headers
        assert error_of(ask(caller, key)) == (422, "idempotency_mismatch")
        go_on.set()
        for _ in pieces:
            pass
    assert error_of(ask(caller, key, stream=True)) == (409, "idempotency_replayed")
    assert len(upstream.requests) == 1
    assert charged(caller) == COST


def test_a_key_belongs_to_its_account_and_outlives_the_api_key(
    caller: Caller, make_caller: Callable[..., Caller], key: str, upstream: FakeUpstream
) -> None:
    assert ask(caller, key).status_code == 200
    other_key = lifecycle.create(user_id=caller.wallet.pk, name="another").secret
    again = replace(caller, key=other_key)
    assert error_of(ask(again, key)) == (409, "idempotency_replayed")
    assert ask(make_caller(), key).status_code == 200


def test_nobody_of_a_project_meets_the_requests_of_another_person_in_the_account(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    owner = caller.wallet.pk
    keeping.keep(user_id=owner, hours=1)
    project, member = projects.create(user_id=owner, name="Shop"), UserFactory.create()
    people.invite(user_id=owner, project_id=project, mobile=member.mobile, role=projects.Role.MEMBER)
    people.accept(user_id=member.pk, project_id=project)
    made = [
        lifecycle.create(user_id=owner, name="x", project_id=project, created_by_id=maker)
        for maker in (None, member.pk)
    ]
    callers = [caller, *(replace(caller, key=each.secret, key_id=each.key_id) for each in made)]
    firsts = [ask(each, key) for each in callers]
    assert ["idempotent-replayed" in first.headers for first in firsts] == [False] * 3
    for each, first in zip(callers, firsts, strict=True):
        again = ask(each, key).headers
        assert again["x-hamiran-original-request-id"] == first.headers["x-request-id"]
    assert ask(callers[2], key + "2").headers.get("idempotent-replayed") is None
    assert ask(callers[1], key + "2", temperature=1).status_code == 200
    assert len(upstream.requests) == 5
    assert charged(caller) == 5 * COST


def test_an_answer_is_not_repeated_to_a_key_that_may_not_use_its_model(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    keeping.keep(user_id=caller.wallet.pk, hours=1)
    assert ask(caller, key).status_code == 200
    rules = KeyRules(allowed_models=(FREE_MODEL,))
    made = lifecycle.create(user_id=caller.wallet.pk, name="narrow", rules=rules)
    narrow = replace(caller, key=made.secret, key_id=made.key_id)
    assert error_of(ask(narrow, key)) == (403, "model_not_allowed")
    lifecycle.revoke(user_id=caller.wallet.pk, key_id=caller.key_id)
    eventually(lambda: ask(caller, key).status_code == 401)


def test_what_cost_nothing_leaves_the_key_free_for_any_body(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    upstream.script = respond(500, {"error": {"message": "no"}})
    assert error_of(ask(caller, key)) == (502, "upstream_error")
    assert ask(caller, key, model="nothing").status_code == 404
    assert ask(caller, key, max_tokens="many").status_code == 400
    upstream.script = answer_whole()
    assert ask(caller, key, temperature=1).status_code == 200
    assert error_of(ask(caller, key)) == (422, "idempotency_mismatch")
    assert charged(caller) == COST


def test_an_answer_that_was_free_is_an_answer_all_the_same(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    assert ask(caller, key, model=FREE_MODEL).status_code == 200
    repeat = ask(caller, key, model=FREE_MODEL)
    assert error_of(repeat) == (409, "idempotency_replayed")
    assert repeat.json()["error"]["cost_toman"] == 0


@pytest.mark.parametrize("bad", ["", "x" * 256, "سلام".encode(), "a\tb"], ids=repr)
def test_a_key_is_short_and_printable(caller: Caller, bad: str | bytes, upstream: FakeUpstream) -> None:
    with caller.http as http:
        answer = http.post(
            "/chat/completions",
            json={"model": MODEL, "messages": HELLO},
            headers=[(b"Idempotency-Key", bad if isinstance(bad, bytes) else bad.encode())],
        )
    assert error_of(answer) == (400, "invalid_value")
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert upstream.requests == []


def test_a_key_may_come_only_once(caller: Caller, upstream: FakeUpstream) -> None:
    with caller.http as http:
        answer = http.post(
            "/chat/completions",
            json={"model": MODEL, "messages": HELLO},
            headers=[("Idempotency-Key", "one"), ("Idempotency-Key", "two")],
        )
    assert error_of(answer) == (400, "invalid_value")


def test_the_longest_key_works(caller: Caller, upstream: FakeUpstream) -> None:
    longest = " ~".join(["x" * 84] * 3)[:255].ljust(255, "y")
    assert ask(caller, longest).status_code == 200
    assert error_of(ask(caller, longest)) == (409, "idempotency_replayed")


def test_after_a_day_the_key_is_new(caller: Caller, key: str, upstream: FakeUpstream) -> None:
    assert ask(caller, key).status_code == 200
    age(caller, "24 hours")
    assert ask(caller, key, temperature=1).status_code == 200
    assert error_of(ask(caller, key, temperature=1)) == (409, "idempotency_replayed")
    assert charged(caller) == 2 * COST


def age(caller: Caller, by: str) -> None:
    """As if the account had done everything so much earlier."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE proxy_idempotentrequest SET claimed_at = claimed_at - %s::interval,"
            " alive_until = alive_until - %s::interval WHERE user_id = %s",
            [by, by, caller.wallet.pk],
        )
        cursor.execute(
            "UPDATE proxy_keptanswer SET kept_at = kept_at - %s::interval, expires_at = expires_at - %s::interval"
            " WHERE user_id = %s",
            [by, by, caller.wallet.pk],
        )


def test_of_many_at_once_one_runs(caller: Caller, key: str, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(0.2, *STREAM)
    answers = at_once(lambda _http, _n: ask(caller, key, stream=True), range(5), threads=5)
    told = sorted(answer.status_code for answer in answers)
    assert told == [200, 409, 409, 409, 409]
    assert len(upstream.requests) == 1
    assert charged(caller) == COST
    assert UsageRecord.objects.filter(key_id=caller.key_id, cost_micro__gt=0).count() == 1


def test_requests_without_a_key_leave_no_trace(caller: Caller, upstream: FakeUpstream) -> None:
    assert caller.ask().status_code == 200
    assert not IdempotentRequest.objects.filter(user_id=caller.wallet.pk).exists()
    assert not KeptAnswer.objects.filter(user_id=caller.wallet.pk).exists()


def test_the_sdk_tries_again_with_its_key_and_stops_where_that_is_in_vain(
    caller: Caller, key: str, upstream: FakeUpstream
) -> None:
    fails = iter([respond(500, {}), answer_whole()])

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await next(fails)(request, writer)

    upstream.script = script
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": HELLO,
        "extra_headers": {"Idempotency-Key": key},
    }
    with caller.sdk.with_options(max_retries=2) as sdk:
        answer = sdk.chat.completions.create(**asked)
        assert answer.choices[0].message.content == "Hello!"
        assert len(upstream.requests) == 2
        with pytest.raises(openai.ConflictError) as refused:
            sdk.chat.completions.create(**asked)
    assert refused.value.code == "idempotency_replayed"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
    assert charged(caller) == COST


# --- with the store --------------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(caller: Caller) -> Iterator[Caller]:
    keeping.keep(user_id=caller.wallet.pk, hours=1)
    yield caller
    keeping.stop(user_id=caller.wallet.pk)


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_answer_is_replayed_to_the_byte(
    keeper: Caller, key: str, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script = stream_events(*STREAM) if stream else answer_whole()
    fields = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    first = ask(keeper, key, **fields)
    assert first.status_code == 200
    upstream.script = respond(500, {})
    for _ in range(2):
        repeat = ask(keeper, key, **fields)
        assert (repeat.status_code, repeat.content) == (200, first.content)
        assert repeat.headers["content-type"] == first.headers["content-type"]
        assert repeat.headers["idempotent-replayed"] == "true"
        assert repeat.headers["x-hamiran-original-request-id"] == first.headers["x-request-id"]
        assert float(repeat.headers["x-hamiran-cost-toman"]) == COST / 10**7
    assert error_of(ask(keeper, key, temperature=1)) == (422, "idempotency_mismatch")
    assert charged(keeper) == COST
    assert len(upstream.requests) == 1


def test_a_replay_counts_as_a_request_and_has_no_tokens(
    keeper: Caller, key: str, upstream: FakeUpstream
) -> None:
    first = ask(keeper, key)
    repeat = ask(keeper, key)
    left = "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"
    assert int(first.headers[left[0]]) - int(repeat.headers[left[0]]) == 1
    used = USAGE["prompt_tokens"] + USAGE["completion_tokens"]
    third = ask(keeper, key)
    assert int(repeat.headers[left[1]]) == int(third.headers[left[1]])
    assert int(first.headers[left[1]]) - int(repeat.headers[left[1]]) <= used


@pytest.mark.parametrize("model", [MODEL, DRAINED_MODEL])
def test_a_stream_whose_client_left_runs_on_and_is_replayed_whole(
    keeper: Caller, key: str, upstream: FakeUpstream, model: str
) -> None:
    go_on = threading.Event()
    upstream.script = stream_events(*STREAM[:2], go_on, *STREAM[2:])
    with (
        keeper.http as http,
        http.stream(
            "POST",
            "/chat/completions",
            json={"model": model, "messages": HELLO, "stream": True},
            headers={"Idempotency-Key": key},
        ) as running,
    ):
        next(running.iter_raw())
    assert error_of(ask(keeper, key, model=model, stream=True)) == (409, "request_in_progress")
    go_on.set()
    eventually(lambda: UsageRecord.objects.filter(key_id=keeper.key_id).exists())
    repeat = ask(keeper, key, model=model, stream=True)
    assert repeat.status_code == 200
    assert repeat.text.endswith("data: [DONE]\n\n")
    assert "lo!" in repeat.text
    record = keeper.usage()
    assert (record.outcome, record.billed_by, record.cost_micro) == ("client_left", "usage", COST)
    assert charged(keeper) == COST


def test_what_has_expired_is_not_replayed(keeper: Caller, key: str, upstream: FakeUpstream) -> None:
    assert ask(keeper, key).status_code == 200
    age(keeper, "61 minutes")
    assert error_of(ask(keeper, key)) == (409, "idempotency_replayed")
    assert charged(keeper) == COST


def test_switched_off_nothing_is_left(keeper: Caller, key: str, upstream: FakeUpstream) -> None:
    assert ask(keeper, key).status_code == 200
    assert keeping.stop(user_id=keeper.wallet.pk) == 1
    assert not KeptAnswer.objects.filter(user_id=keeper.wallet.pk).exists()
    assert error_of(ask(keeper, key)) == (409, "idempotency_replayed")


def test_what_is_kept_cannot_be_read_in_the_database(
    keeper: Caller, key: str, upstream: FakeUpstream
) -> None:
    upstream.script = answer_whole("a secret answer " * 20)
    assert ask(keeper, key).status_code == 200
    [kept] = KeptAnswer.objects.filter(user_id=keeper.wallet.pk)
    assert b"secret" not in bytes(kept.content)
    [claim] = IdempotentRequest.objects.filter(user_id=keeper.wallet.pk)
    assert key.encode() not in bytes(claim.key_digest)


def test_an_answer_moved_to_another_account_opens_no_more(
    keeper: Caller, key: str, upstream: FakeUpstream
) -> None:
    assert ask(keeper, key).status_code == 200
    [kept] = KeptAnswer.objects.filter(user_id=keeper.wallet.pk)
    KeptAnswer.objects.filter(pk=kept.pk).update(content=bytes(kept.content)[:-1] + b"x")
    assert error_of(ask(keeper, key)) == (409, "idempotency_replayed")


# --- in any order ----------------------------------------------------------------------------------------------------

ANSWERED = {"replayed", "answered"}


def in_any_order(caller: Caller, upstream: FakeUpstream, *, rounds: int, chosen: random.Random) -> None:
    """Each key is asked 2 to 5 times at nearly the same time, and again until it is final.

    Upstream fails, is slow and is quick; some clients leave.
    """
    good = stream_events(*STREAM)

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(chosen.uniform(0, 0.08))
        if chosen.random() < 0.3:
            await respond(500, {})(request, writer)
        elif chosen.random() < 0.2:
            await stream_events(*STREAM[:2], cut=True)(request, writer)
        else:
            await good(request, writer)

    upstream.script = script
    for turn in range(rounds):
        key, times = f"turn {turn}", chosen.randrange(2, 6)
        waits = [chosen.uniform(0, 0.15) for _ in range(times)]
        told = at_once(partial(told_after, caller, key), waits, threads=times)
        told.append(settled_at_last(caller, key))
        assert told[-1] in {"named", *ANSWERED}
        assert told.count("answered") <= 1, told
        assert len(paid_by(caller)) == turn + 1, told
    assert set(paid_by(caller)) == {COST}
    assert charged(caller) == rounds * COST


def told_after(caller: Caller, key: str, _http: object, wait: float) -> str:
    time.sleep(wait)
    answer = ask(caller, key, stream=True)
    if answer.status_code == 200 and "upstream_error" in answer.text:
        return "failed"
    if answer.status_code == 200:
        assert answer.text.endswith("data: [DONE]\n\n")
        return "replayed" if "idempotent-replayed" in answer.headers else "answered"
    code: str = answer.json()["error"]["code"]
    told = {"idempotency_replayed": "named", "request_in_progress": "running", "upstream_error": "failed"}
    return told[code]


def settled_at_last(caller: Caller, key: str) -> str:
    told = ""

    def is_final() -> bool:
        nonlocal told
        told = told_after(caller, key, None, 0)
        return told not in {"failed", "running"}

    eventually(is_final)
    return told


def paid_by(caller: Caller) -> list[int]:
    paid = UsageRecord.objects.filter(user_id=caller.wallet.pk).exclude(billed_by="nothing")
    return list(paid.values_list("cost_micro", flat=True))


@pytest.mark.parametrize("keeps", [False, True], ids=["not kept", "kept"])
def test_in_any_order_each_key_is_charged_once(caller: Caller, upstream: FakeUpstream, keeps: bool) -> None:
    if keeps:
        keeping.keep(user_id=caller.wallet.pk, hours=1)
    in_any_order(caller, upstream, rounds=8, chosen=random.Random(keeps))


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("keeps", [False, True], ids=["not kept", "kept"])
def test_in_any_order_each_of_many_keys_is_charged_once(
    make_caller: Callable[..., Caller], upstream: FakeUpstream, keeps: bool
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    if keeps:
        keeping.keep(user_id=caller.wallet.pk, hours=1)
    in_any_order(caller, upstream, rounds=200, chosen=random.Random(14 + keeps))
