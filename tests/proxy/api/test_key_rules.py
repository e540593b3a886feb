"""What a key of its own may do: until when, which models, from where, how fast, for how much."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from keys import lifecycle, lookup, reading
from keys.rules import KeyRules
from keys.secret import generate
from proxy.usage import integrity as usage_integrity
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream
from tests.live import at_once, eventually
from tests.proxy.api.conftest import FREE_MODEL, INPUT_PRICE, MAX_OUTPUT, MODEL, OUTPUT_PRICE, Caller
from wallet import integrity
from wallet.ledger import budgets, periods
from wallet.ledger.budgets import BudgetReport
from wallet.ledger.models import Budget
from wallet.ledger.periods import Period

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE


@pytest.fixture
def with_rules(make_caller: Any) -> Any:
    """`with_rules(allowed_models=…)`: somebody whose key has these rules."""

    def make(**rules: Any) -> Caller:
        caller: Caller = make_caller()
        lifecycle.change(user_id=caller.wallet.pk, key_id=caller.key_id, name="test", rules=KeyRules(**rules))
        return caller

    return make


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_a_key_works_until_it_expires(with_rules: Any) -> None:
    caller = with_rules(expires_at=timezone.now() + timedelta(seconds=4))
    assert caller.ask().status_code == 200
    eventually(lambda: caller.ask().status_code != 200)
    refused = caller.ask()
    assert code(refused) == (401, "invalid_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_a_key_uses_and_sees_only_the_models_that_it_may(with_rules: Any, upstream: FakeUpstream) -> None:
    caller = with_rules(allowed_models=(MODEL, "not on sale"))
    assert [model.id for model in caller.sdk.models.list().data] == [MODEL]
    assert caller.sdk.models.retrieve(MODEL).id == MODEL
    assert caller.ask().status_code == 200
    upstream.requests.clear()
    refused = caller.ask(model=FREE_MODEL)
    assert code(refused) == (403, "model_not_allowed")
    assert refused.json()["error"]["param"] == "model"
    with caller.http as http:
        assert code(http.get(f"/models/{FREE_MODEL}")) == (403, "model_not_allowed")
    assert code(caller.ask(model="not on sale")) == (404, "model_not_found")
    assert not upstream.requests


def test_a_key_works_only_from_its_networks(with_rules: Any, upstream: FakeUpstream) -> None:
    caller = with_rules(allowed_networks=("203.0.113.0/24", "2001:db8::/32"))
    assert code(caller.ask()) == (403, "network_not_allowed")
    with caller.http as http:
        # The proxy in front, which is trusted because it is on this machine, says who asks.
        for address, status in (("203.0.113.9", 200), ("2001:db8::5", 200), ("198.51.100.1", 403)):
            assert http.get("/models", headers={"X-Forwarded-For": address}).status_code == status
    assert not upstream.requests


def test_a_lower_limit_of_its_own_holds_and_a_higher_one_does_not(with_rules: Any, make_caller: Any) -> None:
    caller = with_rules(rpm=1, tpm=2_000_000_000)
    answer = caller.ask()
    assert answer.headers["x-ratelimit-limit-requests"] == "1"
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000000000"
    assert code(caller.ask()) == (429, "rate_limit_exceeded")


def test_a_change_is_in_force_at_once(caller: Caller) -> None:
    assert caller.ask().status_code == 200
    lifecycle.change(
        user_id=caller.wallet.pk, key_id=caller.key_id, name="test", rules=KeyRules(allowed_models=("x",))
    )
    eventually(lambda: caller.ask().status_code == 403)


# --- the spending cap ---------------------------------------------------------------------------------------------


def capped(
    make_caller: Any, limit_micro: int, period: Period = Period.FOREVER
) -> tuple[Caller, Callable[[], BudgetReport]]:
    caller: Caller = make_caller()
    budget_id = budgets.open_budget(wallet_id=caller.wallet.pk, limit_micro=limit_micro, period=period)
    lifecycle.change(
        user_id=caller.wallet.pk, key_id=caller.key_id, name="test", rules=KeyRules(budget_id=budget_id)
    )

    def report() -> BudgetReport:
        return budgets.reports(wallet_id=caller.wallet.pk, budget_ids=[budget_id])[budget_id]

    return caller, report


def broken_rules(caller: Caller) -> list[integrity.Finding]:
    return [
        found
        for found in integrity.run([*integrity.CHECKS, *usage_integrity.CHECKS])
        if f"wallet_id={caller.wallet.pk}," in found.detail
    ]


def test_a_cap_that_is_reached_refuses_until_it_is_raised(make_caller: Any, upstream: FakeUpstream) -> None:
    caller, report = capped(make_caller, 10 * COST)
    assert caller.ask(max_tokens=9).status_code == 200
    assert report().spent_micro == COST
    budget_id = reading.get(user_id=caller.wallet.pk, key_id=caller.key_id).rules.budget_id
    assert budget_id is not None
    budgets.set_limit(wallet_id=caller.wallet.pk, budget_id=budget_id, limit_micro=COST)
    upstream.requests.clear()
    refused = caller.ask(max_tokens=9)
    assert code(refused) == (402, "key_limit_reached")
    assert refused.json()["error"]["type"] == "insufficient_quota"
    assert "spending cap" in refused.json()["error"]["message"]
    assert refused.json()["error"]["resets_at"] is None
    assert refused.headers["x-should-retry"] == "false"
    assert not upstream.requests
    assert caller.ask(model=FREE_MODEL).status_code == 200
    budgets.set_limit(wallet_id=caller.wallet.pk, budget_id=budget_id, limit_micro=100 * COST)
    assert caller.ask(max_tokens=9).status_code == 200
    assert (report().spent_micro, report().held_micro) == (2 * COST, 0)
    assert not broken_rules(caller)


def test_a_cap_per_month_says_when_it_begins_anew_and_does(make_caller: Any) -> None:
    caller, report = capped(make_caller, 10 * COST, Period.MONTH)
    while (refused := caller.ask(max_tokens=9)).status_code == 200:
        assert report().spent_micro <= 10 * COST
    assert code(refused) == (402, "key_limit_reached")
    error, resets_at = refused.json()["error"], periods.bounds(Period.MONTH, timezone.now())[1]
    assert datetime.fromisoformat(error["resets_at"]) == resets_at == report().resets_at
    assert error["resets_at"] in error["message"]
    assert "retry-after" not in refused.headers  # an SDK would wait for weeks
    assert refused.headers["x-should-retry"] == "false"
    Budget.objects.filter(wallet_id=caller.wallet.pk).update(ends_at=timezone.now())
    assert caller.ask(max_tokens=9).status_code == 200
    assert (report().spent_micro, report().resets_at) == (COST, resets_at)
    assert not broken_rules(caller)


def test_without_max_tokens_the_answer_is_capped_at_what_the_budget_covers(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller, report = capped(make_caller, 300 * INPUT_PRICE + 400 * OUTPUT_PRICE)
    assert caller.ask().status_code == 200
    asked = upstream.requests[-1]
    assert (
        256
        <= next(asked[name] for name in ("max_tokens", "max_completion_tokens") if name in asked)
        < MAX_OUTPUT
    )
    assert report().spent_micro == COST


def test_two_hundred_requests_at_once_never_pass_the_cap(make_caller: Any) -> None:
    limit = 50 * COST
    caller, report = capped(make_caller, limit)

    def ask(http: httpx.Client, _n: int) -> tuple[int, str]:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
        answer = http.post("/chat/completions", json=body)
        return (200, "") if answer.status_code == 200 else code(answer)

    outcomes = at_once(ask, range(200), threads=40, http=lambda: caller.http)
    assert set(outcomes) == {(200, ""), (402, "key_limit_reached")}
    assert report().held_micro == 0
    used = sum(UsageRecord.objects.filter(key_id=caller.key_id).values_list("cost_micro", flat=True))
    assert used == report().spent_micro == outcomes.count((200, "")) * COST <= limit
    assert not broken_rules(caller)


def test_a_failed_request_gives_the_cap_its_part_back(make_caller: Any, upstream: FakeUpstream) -> None:
    caller, report = capped(make_caller, 10 * COST)
    assert caller.ask(model="dead", max_tokens=9).status_code == 502
    assert (report().spent_micro, report().held_micro) == (0, 0)


def test_a_key_and_the_one_that_takes_its_place_share_a_cap(make_caller: Any) -> None:
    caller, report = capped(make_caller, 10 * COST)
    new = lifecycle.rotate(user_id=caller.wallet.pk, key_id=caller.key_id, grace=timedelta(hours=1))
    successor = replace(caller, key=new.secret, key_id=new.key_id)
    assert successor.ask(max_tokens=9).status_code == caller.ask(max_tokens=9).status_code == 200
    assert report().spent_micro == 2 * COST
    assert not broken_rules(caller)


def test_a_key_that_is_replaced_without_a_grace_is_refused(caller: Caller) -> None:
    assert caller.ask().status_code == 200
    lifecycle.rotate(user_id=caller.wallet.pk, key_id=caller.key_id, grace=timedelta(0))
    eventually(lambda: caller.ask().status_code == 401)


# --- keys that are tried ------------------------------------------------------------------------------------------


def test_an_address_that_tries_keys_is_told_to_wait_and_hurts_no_key_that_works(caller: Caller) -> None:
    """The proxy in front, which is trusted because it is on this machine, says who asks."""
    address = {"X-Forwarded-For": "2001:db8:7::1"}
    neighbour = {"X-Forwarded-For": "2001:db8:7::2", "Authorization": f"Bearer {caller.key}"}
    models = f"{caller.web.url}/v1/models"
    assert httpx.get(models, headers=neighbour).status_code == 200

    def tried() -> httpx.Response:
        return httpx.get(models, headers={**address, "Authorization": f"Bearer {generate()}"})

    answers = [tried() for _ in range(lookup.FAILURES_PER_MINUTE + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert code(answers[-1]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert httpx.get(models, headers=neighbour).status_code == 200
    elsewhere = {"X-Forwarded-For": "2001:db8:8::1", "Authorization": f"Bearer {generate()}"}
    assert httpx.get(models, headers=elsewhere).status_code == 401
