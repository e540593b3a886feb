"""Sums by any groups are those of the records, whatever of them is rolled up, and on whatever page."""

from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from accounts.shared.formats import TEHRAN
from proxy.usage import rollups, sums
from proxy.usage.figures import Figures
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from proxy.usage.sums import GROUPS, Sum
from tests.factories import UserFactory
from tests.proxy.usage.test_by_end_user import summed
from tests.proxy.usage.used import MIDNIGHT, NOW, record, spread

SINCE, UNTIL = MIDNIGHT - timedelta(days=10), MIDNIGHT + timedelta(days=1)
EVERY = [
    groups
    for count in range(len(GROUPS) + 1)
    for groups in combinations(GROUPS, count)
    if not {"hour", "user"} <= set(groups)
]


@pytest.fixture
def user(db: None) -> User:
    for model in (UsageRecord, UsageRollup, EndUserRollup):
        model.objects.all().delete()
    made: User = UserFactory.create()
    return made


def read(user: User, groups: tuple[str, ...], **more: Any) -> list[Sum]:
    asked: dict[str, Any] = {"since": SINCE, "until": UNTIL, "after": None, "limit": 1_000, **more}
    query, parameters = sums.statement(user_id=user.pk, groups=groups, **asked)
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return [sums.found(row, groups) for row in cursor.fetchall()]


def value(record: UsageRecord, group: str) -> Any:
    local = record.created_at.astimezone(TEHRAN)
    match group:
        case "day":
            return local.replace(hour=0, minute=0, second=0, microsecond=0)
        case "hour":
            return local.replace(minute=0, second=0, microsecond=0)
        case "key":
            return record.key_id
        case "user":
            return bytes(record.end_user or b"")
        case _:
            return getattr(record, group)


def expected(records: list[UsageRecord], groups: tuple[str, ...]) -> dict[tuple[Any, ...], Figures]:
    found: dict[tuple[Any, ...], list[UsageRecord]] = {}
    for each in records:
        found.setdefault(tuple(value(each, group) for group in groups), []).append(each)
    return {groups: summed(each) for groups, each in sorted(found.items())}


@pytest.fixture(params=["not", "before", "now"])
def records(request: pytest.FixtureRequest, user: User) -> list[UsageRecord]:
    """Of a user, of which none, some or all are rolled up; another's are beside them."""
    made = spread(user)
    spread(UserFactory.create())
    if request.param != "not":
        rollups.roll_up()
    if request.param == "before":
        named = next(each for each in made if each.end_user)
        made.append(record(user, NOW, end_user=named.end_user, end_user_hint=named.end_user_hint))
        made.append(record(user, NOW + timedelta(hours=3), endpoint="messages"))
    return made


def test_sums_by_any_groups_are_those_of_the_records(user: User, records: list[UsageRecord]) -> None:
    for groups in EVERY:
        found = read(user, groups)
        assert {each.groups: each.figures for each in found} == expected(records, groups), groups
        assert [each.groups for each in found] == sorted(each.groups for each in found)


def test_pages_together_are_the_whole(user: User, records: list[UsageRecord]) -> None:
    for groups in (("day", "model"), ("user", "key"), ("hour", "endpoint", "key")):
        whole, paged = read(user, groups), list[Sum]()
        after = None
        while page := read(user, groups, after=after, limit=3):
            paged += page
            after = page[-1].groups
        assert paged == whole
        assert len(whole) > 3


def test_only_the_days_asked_for_count(user: User, records: list[UsageRecord]) -> None:
    since, until = MIDNIGHT - timedelta(days=1), MIDNIGHT
    within = [each for each in records if since <= each.created_at < until]
    assert 0 < len(within) < len(records)
    for groups in (("user",), ("model",), ("hour",)):
        found = read(user, groups, since=since, until=until)
        assert {each.groups: each.figures for each in found} == expected(within, groups)


def test_end_users_are_shown_by_their_hints(user: User, records: list[UsageRecord]) -> None:
    assert sorted(each.hint for each in read(user, ("user",))) == ["", "ali", "sara"]


def test_nothing_used_is_a_sum_of_nothing_and_no_groups(user: User) -> None:
    assert read(user, ()) == [Sum((), "", Figures())]
    assert read(user, ("day", "user")) == []
