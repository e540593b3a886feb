"""Limits per day and per model as clients meet them, over both protocols, and exceptions to a tier."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from accounts.shared.formats import TEHRAN
from keys.models import LimitOverride
from tests.factories import UserFactory
from tests.fake_upstream import STREAM, FakeUpstream, answer_whole, stream_events
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import MODEL, Caller

MakeCaller = Callable[..., Caller]


def until_midnight() -> float:
    now = timezone.now().astimezone(TEHRAN)
    return (now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now).total_seconds()


def key_of(caller: Caller) -> dict[str, Any]:
    with caller.http as http:
        found: dict[str, Any] = http.get("/key").json()
    return found


def test_a_day_that_is_used_up_is_refused_until_tehrans_midnight(
    make_caller: MakeCaller, upstream: FakeUpstream
) -> None:
    caller = make_caller(rpd=2, tpd=50_000)
    first = caller.ask()
    assert first.headers["x-ratelimit-limit-requests-day"] == "2"
    assert first.headers["x-ratelimit-remaining-requests-day"] == "1"
    assert first.headers["x-ratelimit-limit-tokens-day"] == "50000"
    upstream.script = stream_events(*STREAM)
    assert caller.ask(stream=True).status_code == 200
    refused = caller.ask()
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "daily_limit_exceeded")
    assert (error["limit"], error["limit_of"], error["limited_model"]) == ("requests_per_day", "key", None)
    assert abs(float(refused.headers["retry-after"]) - until_midnight()) < 60
    assert refused.headers["x-should-retry"] == "false"
    assert datetime.fromisoformat(error["resets_at"]).astimezone(TEHRAN).hour in (0, 23)
    assert error["solution"]
    limits = key_of(caller)["limits"]
    assert limits["requests_per_day"] == {"limit": 2, "used": 2, "remaining": 0}
    assert limits["tokens_per_day"]["used"] == 42  # as upstream reported, not as was estimated
    assert key_of(caller)["account_limits"]["requests_per_day"]["limit"] == 10


def test_messages_tell_the_day_in_their_own_words(make_caller: MakeCaller, upstream: FakeUpstream) -> None:
    caller = make_caller(rpd=1)
    body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    upstream.script = answer_whole()
    with caller.http as http:
        first, refused = http.post("/messages", json=body), http.post("/messages", json=body)
    assert first.headers["anthropic-ratelimit-requests-day-remaining"] == "0"
    assert first.headers["anthropic-ratelimit-requests-day-reset"].endswith("Z")
    assert refused.json()["error"]["code"] == "daily_limit_exceeded"
    assert refused.headers["x-should-retry"] == "false"


def test_a_model_with_limits_of_its_own_stops_alone_and_is_counted(
    make_caller: MakeCaller, upstream: FakeUpstream, web: WebProcess
) -> None:
    caller = make_caller()
    tier = caller.wallet.user.tier
    tier.model_limits.create(model=MODEL, rpm=1)
    tier.model_limits.create(model="another", rpm=9)
    eventually(lambda: len(key_of(caller)["model_limits"]) == 2)
    first = caller.ask()
    assert first.headers["x-ratelimit-limit-requests"] == "1"
    refused = caller.ask()
    error = refused.json()["error"]
    assert (error["code"], error["limit"]) == ("rate_limit_exceeded", "requests_per_minute")
    assert (error["limit_of"], error["limited_model"]) == ("key", MODEL)
    assert key_of(caller)["model_limits"][0]["model"] in (MODEL, "another")
    scraped = httpx.get(f"{web.url}/metrics", headers={"Authorization": "Bearer scraper"}, timeout=30).text
    assert (
        f'hamiran_limits_hit_total{{limit="requests_per_minute",limit_of="key",model="{MODEL}"}}' in scraped
    )


@pytest.mark.parametrize("of", ["user", pytest.param("key", marks=pytest.mark.proof)])
def test_an_exception_holds_within_seconds_and_ends_by_itself(make_caller: MakeCaller, of: str) -> None:
    caller = make_caller(rpm=3, rpd=100)
    whose: dict[str, Any] = {"user_id": caller.wallet.pk} if of == "user" else {"key_id": caller.key_id}
    override = LimitOverride.objects.create(
        **whose,
        rpm=4_000,
        rpd=1,
        reason="a test",
        ends_at=timezone.now() + timedelta(hours=1),
        set_by=UserFactory.create(is_staff=True),
    )
    eventually(lambda: key_of(caller)["limits"]["requests_per_minute"]["limit"] == 4_000)
    ceiling = key_of(caller)["account_limits"]
    assert ceiling["requests_per_minute"]["limit"] == (20_000 if of == "user" else 4_000)
    assert ceiling["requests_per_day"]["limit"] == (5 if of == "user" else 500)
    assert [caller.ask().status_code for _ in range(2)] == [200, 429]
    LimitOverride.objects.filter(pk=override.pk).update(ends_at=timezone.now())
    eventually(lambda: key_of(caller)["limits"]["requests_per_minute"]["limit"] == 3)
    assert caller.ask().status_code == 200
    LimitOverride.objects.all().delete()
