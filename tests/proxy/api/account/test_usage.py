"""GET /v1/usage: sums of days, by the groups asked for, with what was used a moment ago."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import jdatetime
import pytest
from django.utils import timezone

from accounts.shared.formats import TEHRAN
from keys import lifecycle
from keys.projects import projects
from proxy.api.account import cursors
from proxy.usage import rollups
from proxy.usage.models import EndUserRollup, UsageRollup
from tests.fake_upstream import FakeUpstream, respond
from tests.proxy.api.account.asking import COST, get, refused, told
from tests.proxy.api.conftest import HELLO, MODEL, WHOLE_LIST_MODEL, Caller

FIGURES = {
    "requests": 1,
    "errors": 0,
    "prompt_tokens": 12,
    "cached_tokens": 0,
    "completion_tokens": 9,
    "total_tokens": 21,
    "cost_toman": Decimal(COST) / 10**7,
    "cost_micro": COST,
}


def today() -> datetime:
    return timezone.now().astimezone(TEHRAN)


def test_what_was_used_a_moment_ago_is_in_the_sum(caller: Caller) -> None:
    [nothing] = told(caller, "/usage")["data"]
    assert nothing == dict.fromkeys(FIGURES, 0)
    before = today()
    caller.ask(user="customer-7")
    page = told(caller, "/usage", group_by="day,key,model,endpoint,user")
    if today().date() != before.date():  # midnight in between
        return
    assert (page["from"], page["to"]) == (str(before.date() - timedelta(days=29)), str(before.date()))
    assert (page["has_more"], page["next_after"]) == (False, None)
    [used] = page["data"]
    user = used.pop("user")
    assert bytes.fromhex(user["digest"]) == bytes(caller.usage().end_user or b"")
    assert user["hint"] == caller.usage().end_user_hint
    assert used == {
        "day": before.date().isoformat(),
        "jalali_day": jdatetime.date.fromgregorian(date=before.date()).strftime("%Y-%m-%d"),
        "key": {"id": caller.key_id, "name": "test", "hint": f"hm-…{caller.key[-4:]}"},
        "model": MODEL,
        "endpoint": "chat",
        **FIGURES,
    }


@pytest.fixture
def roll_up(committed_db: None) -> Iterator[Callable[[], object]]:
    """Tests after this one make records of earlier times, which nobody would look for behind a roll-up."""
    yield rollups.roll_up
    for model in (UsageRollup, EndUserRollup):
        model.objects.all().delete()


def test_it_stays_the_same_when_it_is_rolled_up(
    caller: Caller, upstream: FakeUpstream, roll_up: Callable[[], object]
) -> None:
    caller.ask()
    caller.ask(model=WHOLE_LIST_MODEL)
    upstream.script = respond(500, {"error": {"message": "no"}})
    caller.ask()
    asked = [{}, {"group_by": "model"}, {"group_by": "hour,key"}, {"group_by": "user,endpoint"}]
    before = [told(caller, "/usage", **query) for query in asked]
    roll_up()
    assert [told(caller, "/usage", **query) for query in asked] == before
    [every] = before[0]["data"]
    assert (every["requests"], every["errors"]) == (3, 1)


def test_days_are_read_by_either_calendar(caller: Caller) -> None:
    day = today().date()
    jalali = jdatetime.date.fromgregorian(date=day)
    caller.ask()
    wanted = told(caller, "/usage", **{"from": day.isoformat(), "to": day.isoformat()})
    for written in (jalali.strftime("%Y-%m-%d"), jalali.strftime("%Y/%m/%d"), f"{day:%Y/%m/%d}"):
        assert told(caller, "/usage", **{"from": written, "to": written}) == wanted
    yesterday = str(day - timedelta(days=1))
    [nothing] = told(caller, "/usage", **{"from": yesterday, "to": yesterday})["data"]
    assert nothing["requests"] == 0


def test_pages_follow_each_other(caller: Caller) -> None:
    body = {"messages": HELLO}
    with caller.http as http:
        for model in (MODEL, WHOLE_LIST_MODEL):
            for user in ("a", "b", None):
                named = {} if user is None else {"user": user}
                assert (
                    http.post("/chat/completions", json={**body, **named, "model": model}).status_code == 200
                )
    whole = told(caller, "/usage", group_by="model,user,day")["data"]
    assert len(whole) == 6
    paged: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = told(caller, "/usage", group_by="model,user,day", limit=2, **after)
        paged += page["data"]
        assert len(page["data"]) == 2
        if not page["has_more"]:
            break
        after = {"after": page["next_after"]}
    assert paged == whole
    assert page["next_after"] is None
    assert refused(get(caller, "/usage", group_by="model,day,user", **after)) == (
        400,
        "invalid_value",
        "after",
    )
    assert refused(get(caller, "/usage", group_by="model,user,day", to="2026-01-01", **after))[2] == "after"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "2026-11-30", "to": "2026-11-29"}, "from"),
        ({"from": "2999-01-01"}, "from"),
        ({"from": "2025-01-01", "to": "2026-11-29"}, "from"),
        ({"from": "2026-10-01", "to": "2026-11-29", "group_by": "hour"}, "from"),
        ({"from": "1405-12-31"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"to": ""}, "to"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "2026-13-01"}, "to"),
        ({"group_by": "model,colour"}, "group_by"),
        ({"group_by": "user,hour"}, "group_by"),
        ({"group_by": "model;DROP"}, "group_by"),
        ({"limit": "0"}, "limit"),
        ({"after": "x", "group_by": "model"}, "after"),
        ({"after": "", "group_by": "model"}, "after"),
        ({"after": "é", "group_by": "model"}, "after"),
        ({"after": "AAAAAAAAW10", "group_by": "model"}, "after"),
        ({"after": "AAAAAAAAW10"}, "after"),
    ],
)
def test_what_cannot_be_asked_is_refused(caller: Caller, query: dict[str, str], param: str) -> None:
    assert refused(get(caller, "/usage", **query)) == (400, "invalid_value", param)


@pytest.mark.parametrize(
    ("group", "value"),
    [
        ("key", "x"),
        ("key", 2**63),
        ("key", True),
        ("model", 5),
        ("model", "a\0"),
        ("day", "x"),
        ("user", "x"),
    ],
)
def test_a_cursor_that_was_made_by_hand_is_refused(caller: Caller, group: str, value: object) -> None:
    day = today().date().isoformat()
    forged = cursors.written([value], asked=[group, day, day])
    query = {"group_by": group, "from": day, "to": day, "after": forged}
    assert refused(get(caller, "/usage", **query)) == (400, "invalid_value", "after")


def test_another_accounts_usage_is_not_in_it(make_caller: Callable[..., Caller]) -> None:
    mine, theirs = make_caller(), make_caller()
    theirs.ask()
    for groups in ("", "model", "user", "key"):
        data = told(mine, "/usage", group_by=groups)["data"]
        assert [each["requests"] for each in data] == ([] if groups else [0])


def test_a_projects_key_sees_the_usage_of_its_project(caller: Caller) -> None:
    project = projects.create(user_id=caller.wallet.pk, name="Shop")
    made = lifecycle.create(user_id=caller.wallet.pk, name="shop", project_id=project)
    member = replace(caller, key=made.secret, key_id=made.key_id)
    caller.ask()
    member.ask()
    for groups in ("", "user", "hour"):
        assert [each["requests"] for each in told(member, "/usage", group_by=groups)["data"]] == [1]
        assert sum(each["requests"] for each in told(caller, "/usage", group_by=groups)["data"]) == 2
    [used] = told(member, "/usage", group_by="key")["data"]
    assert used["key"]["id"] == made.key_id


def test_it_is_not_sent_again_to_a_client_that_has_it(caller: Caller) -> None:
    caller.ask()
    with caller.http as http:
        first = http.get("/usage", params={"group_by": "model"})
        known = {"If-None-Match": first.headers["etag"]}
        assert http.get("/usage", params={"group_by": "model"}, headers=known).status_code == 304
    assert json.loads(first.content)["data"]
