"""What end users used is the sum of their records, whatever of them is rolled up."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from proxy.usage import by_end_user, periods, rollups
from proxy.usage.figures import Figures
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from tests.factories import UserFactory
from tests.proxy.usage.used import MIDNIGHT, NOW, record, spread

MONTH = periods.preset("30d", now=NOW)


@pytest.fixture
def user(db: None) -> User:
    for model in (UsageRecord, UsageRollup, EndUserRollup):
        model.objects.all().delete()
    made: User = UserFactory.create()
    return made


def summed(records: list[UsageRecord]) -> Figures:
    return Figures(
        requests=len(records),
        errors=sum(each.outcome not in ("completed", "client_left") for each in records),
        prompt_tokens=sum(each.prompt_tokens for each in records),
        cached_tokens=sum(each.cached_tokens for each in records),
        completion_tokens=sum(each.completion_tokens for each in records),
        cost_micro=sum(each.cost_micro for each in records),
    )


@pytest.mark.parametrize("rolled_up", ["not", "before", "now"])
@pytest.mark.parametrize("of", [{}, {"model": "model-1"}, {"endpoint": "messages"}])
def test_shares_are_the_sums_of_the_records(user: User, rolled_up: str, of: dict[str, Any]) -> None:
    records = spread(user)
    spread(UserFactory.create())
    if rolled_up != "not":
        rollups.roll_up()
    if rolled_up == "before":
        named = next(each for each in records if each.end_user)
        records.append(
            record(user, NOW, end_user=named.end_user, end_user_hint=named.end_user_hint, endpoint="messages")
        )
    found = list(by_end_user.shares(user_id=user.pk, period=MONTH, **of))
    wanted = [each for each in records if all(getattr(each, name) == value for name, value in of.items())]
    expected = {
        name: summed([each for each in wanted if each.end_user_hint == name]) for name in ("ali", "sara")
    }
    assert {each.hint: each.figures for each in found} == {
        name: figures for name, figures in expected.items() if figures.requests
    }
    assert [each.figures.cost_micro for each in found] == sorted(
        (each.figures.cost_micro for each in found), reverse=True
    )


def test_the_dearest_come_first_and_only_as_many_as_are_wanted(user: User) -> None:
    for number in range(5):
        record(user, MIDNIGHT, end_user=b"%d" % number, end_user_hint=str(number), completion_tokens=number)
    shown = by_end_user.shares(user_id=user.pk, period=MONTH, size=2)
    assert [each.hint for each in shown] == ["4", "3"]


def test_an_account_sees_no_end_users_of_another(user: User) -> None:
    spread(UserFactory.create())
    rollups.roll_up()
    assert list(by_end_user.shares(user_id=user.pk, period=MONTH)) == []


def test_a_day_is_counted_once_while_it_is_rolled_up_hour_by_hour(user: User) -> None:
    period = periods.preset("7d", now=timezone.now())
    start = period.since
    for hours in range(30):
        record(user, start + timedelta(hours=hours), end_user=b"x", end_user_hint="x")
        rollups.roll_up()
        [share] = by_end_user.shares(user_id=user.pk, period=period)
        assert share.figures.requests == hours + 1
