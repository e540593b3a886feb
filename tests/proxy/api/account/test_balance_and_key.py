"""The balance, and what a key may do and has left."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from django.utils import timezone

from accounts.shared.formats import TEHRAN
from keys import lifecycle
from keys.projects import projects
from keys.rules import KeyRules
from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, stream_events
from tests.live import eventually
from tests.proxy.api.account.asking import COST, PATHS, get, refused, told
from tests.proxy.api.conftest import (
    CREDIT,
    MODEL,
    WHOLE_LIST_MODEL,
    Caller,
)
from tests.proxy.api.manage.conftest import make_admin_key
from wallet import alerts
from wallet.ledger import budgets
from wallet.ledger.models import Wallet
from wallet.ledger.periods import Period


def test_the_balance_is_exact_to_the_last_digit(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(credit_micro=98_765_432_101_234_567)
    assert told(caller, "/balance") == {
        "available_toman": Decimal("9876543210.1234567"),
        "held_toman": 0,
        "posted_toman": Decimal("9876543210.1234567"),
        "available_micro": 98_765_432_101_234_567,
        "currency": "IRT",
        "low_balance_threshold_toman": None,
    }
    alerts.choose(user_id=caller.wallet.pk, threshold_micro=50_000 * 10**7)
    assert told(caller, "/balance")["low_balance_threshold_toman"] == 50_000


def test_what_runs_is_held_and_what_ran_is_gone(caller: Caller, upstream: FakeUpstream) -> None:
    read = threading.Event()
    upstream.script = stream_events(STREAM[0], read, *STREAM[1:])
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as answer:
        parts = answer.iter_raw()
        next(parts)
        running = told(caller, "/balance")
        request = told(caller, f"/requests/{answer.headers['x-request-id']}")
        read.set()
        assert list(parts)
    assert running["posted_toman"] == CREDIT // 10**7
    assert running["held_toman"] > 0
    assert running["available_toman"] == running["posted_toman"] - running["held_toman"]
    assert (request["status"], request["held_toman"]) == ("in_progress", running["held_toman"])
    assert datetime.now(UTC) - datetime.fromisoformat(request["started_at"]) < timedelta(minutes=1)
    after = told(caller, "/balance")
    assert (after["available_micro"], after["held_toman"]) == (CREDIT - COST, 0)


def test_a_frozen_wallet_can_be_read(caller: Caller) -> None:
    Wallet.objects.filter(pk=caller.wallet.pk).update(frozen_at=timezone.now())
    assert caller.ask().status_code == 403
    for path in PATHS[:3]:
        assert get(caller, path).status_code == 200


# --- a project's key ---------------------------------------------------------------------------------------------


def test_a_projects_key_reads_of_its_project_and_not_of_the_account(
    make_caller: Callable[..., Caller],
) -> None:
    caller = make_caller()
    project = projects.create(user_id=caller.wallet.pk, name="Shop")
    shared = budgets.open_budget(wallet_id=caller.wallet.pk, limit_micro=100 * COST, period=Period.MONTH)
    projects.change(user_id=caller.wallet.pk, project_id=project, name="Shop", budget_id=shared)
    made = lifecycle.create(user_id=caller.wallet.pk, name="shop", project_id=project)
    theirs = replace(caller, key=made.secret, key_id=made.key_id)
    outside = caller.ask().headers["x-request-id"]
    inside = theirs.ask().headers["x-request-id"]
    for path in ("/balance", "/transactions"):
        assert refused(get(theirs, path)) == (403, "project_key_not_allowed", None)
    assert get(theirs, f"/requests/{outside}").status_code == 404
    assert told(theirs, f"/requests/{inside}")["cost_micro"] == COST
    assert told(caller, f"/requests/{inside}")["cost_micro"] == COST  # its owner sees all
    shown = told(theirs, "/key")["project"]
    assert (shown["id"], shown["name"]) == (project, "Shop")
    assert (shown["cap"]["spent_toman"], shown["cap"]["period"]) == (Decimal(COST) / 10**7, "month")
    record = UsageRecord.objects.get(pk=uuid.UUID(inside))
    assert (record.project_id, record.user_id) == (project, caller.wallet.pk)
    budgets.set_limit(wallet_id=caller.wallet.pk, budget_id=shared, limit_micro=COST)
    assert refused(theirs.ask()) == (402, "project_limit_reached", None)
    assert caller.ask().status_code == 200


# --- the key ----------------------------------------------------------------------------------------------------------

NOT_LIMITED = {"limit": None, "used": None, "remaining": None}


def test_a_key_knows_itself_and_what_is_left(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(rpm=7, tpm=9_000, concurrency=2)
    caller.ask()
    key = told(caller, "/key")
    assert datetime.fromisoformat(key.pop("created_at")) <= datetime.now(UTC)
    midnight = datetime.fromisoformat(key.pop("day_resets_at")).astimezone(TEHRAN)
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
    assert key == {
        "object": "key",
        "name": "test",
        "hint": f"hm-…{caller.key[-4:]}",
        "project": None,
        "expires_at": None,
        "tier": caller.wallet.user.tier.name,
        "limits": {
            "requests_per_minute": {"limit": 7, "used": 1, "remaining": 6},
            "tokens_per_minute": {"limit": 9_000, "used": 21, "remaining": 8_979},
            "requests_per_day": NOT_LIMITED,
            "tokens_per_day": NOT_LIMITED,
            "concurrency": {"limit": 2, "used": 0, "remaining": 2},
        },
        "account_limits": {
            "requests_per_minute": {"limit": 35, "used": 1, "remaining": 34},
            "tokens_per_minute": {"limit": 45_000, "used": 21, "remaining": 44_979},
            "requests_per_day": NOT_LIMITED,
            "tokens_per_day": NOT_LIMITED,
            "concurrency": {"limit": 10, "used": 0, "remaining": 10},
        },
        "model_limits": [],
        "cap": None,
        "allowed_models": [],
        "allowed_networks": [],
    }


def test_reading_counts_for_none_of_the_limits_of_calls(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(rpm=2, tpm=9_000, concurrency=1)
    for path in PATHS * 30:
        get(caller, path)
    assert told(caller, "/key")["limits"]["requests_per_minute"] == {"limit": 2, "used": 0, "remaining": 2}
    assert [caller.ask().status_code for _ in range(3)] == [200, 200, 429]
    assert get(caller, "/balance").status_code == 200


def test_the_rules_of_a_key_and_its_cap_are_told(caller: Caller) -> None:
    expires_at = timezone.now() + timedelta(days=3)
    budget_id = budgets.open_budget(wallet_id=caller.wallet.pk, limit_micro=50 * COST)
    rules = KeyRules(
        expires_at=expires_at,
        allowed_models=(WHOLE_LIST_MODEL, MODEL),
        allowed_networks=("127.0.0.0/8",),
        rpm=5,
        budget_id=budget_id,
    )
    lifecycle.change(user_id=caller.wallet.pk, key_id=caller.key_id, name="shop", rules=rules)
    eventually(lambda: told(caller, "/key")["cap"] is not None)
    caller.ask()
    key = told(caller, "/key")
    assert (key["name"], key["allowed_networks"]) == ("shop", ["127.0.0.0/8"])
    assert key["allowed_models"] == sorted([WHOLE_LIST_MODEL, MODEL])
    assert abs(datetime.fromisoformat(key["expires_at"]) - expires_at) < timedelta(milliseconds=1)
    assert key["limits"]["requests_per_minute"] == {"limit": 5, "used": 1, "remaining": 4}
    toman = Decimal(COST) / 10**7
    assert key["cap"] == {
        "limit_toman": 50 * toman,
        "spent_toman": toman,
        "held_toman": 0,
        "remaining_toman": 49 * toman,
        "period": "forever",
        "resets_at": None,
    }


def test_a_key_that_does_not_work_reads_nothing(caller: Caller) -> None:
    lifecycle.change(
        user_id=caller.wallet.pk,
        key_id=caller.key_id,
        name="test",
        rules=KeyRules(allowed_networks=("192.0.2.0/24",)),
    )
    eventually(lambda: get(caller, "/balance").status_code == 403)
    for path in PATHS:
        assert refused(get(caller, path))[:2] == (403, "network_not_allowed")
        without = httpx.get(f"{caller.web.url}/v1{path}")
        assert refused(without)[:2] == (401, "missing_api_key")


@pytest.mark.parametrize("scopes", [["usage:read"], ["keys:read", "keys:write"]])
def test_an_admin_key_reads_with_the_scope_for_it(caller: Caller, scopes: list[str]) -> None:
    request_id = caller.ask().headers["x-request-id"]
    admin = replace(caller, key=make_admin_key(caller.wallet.pk, scopes=scopes).secret, key_id=0)
    for path in ("/balance", "/transactions", f"/requests/{request_id}"):
        answer = get(admin, path)
        if "usage:read" in scopes:
            assert answer.json() == get(caller, path).json()
        else:
            assert refused(answer)[:2] == (403, "insufficient_scope")
    assert refused(get(admin, "/key"))[:2] == (403, "admin_key_not_allowed")
