"""Figures are those of the records, whatever part of them is rolled up, over any period, by key and model."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import User
from proxy.usage import figures, latency, periods, rollups
from proxy.usage.figures import Figures
from proxy.usage.models import UsageRecord, UsageRollup
from proxy.usage.periods import Period
from tests.factories import UserFactory
from tests.proxy.factories import APIKeyFactory
from tests.proxy.usage.test_latency import counted
from tests.proxy.usage.used import MIDNIGHT, NOW, record, spread

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
CHOSEN = {
    **{name: periods.preset(name, now=NOW) for name in periods.PRESETS},
    "a day": periods.of_days(MIDNIGHT.date(), MIDNIGHT.date()),
    "three days": periods.of_days((MIDNIGHT - 2 * DAY).date(), MIDNIGHT.date()),
}


@pytest.fixture(autouse=True)
def nothing_rolled_up() -> None:
    UsageRecord.objects.all().delete()
    UsageRollup.objects.all().delete()


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


def summed(records: list[UsageRecord]) -> Figures:
    return Figures(
        requests=len(records),
        errors=sum(each.outcome == "upstream_failed" for each in records),
        prompt_tokens=sum(each.prompt_tokens for each in records),
        cached_tokens=sum(each.cached_tokens for each in records),
        completion_tokens=sum(each.completion_tokens for each in records),
        cost_micro=sum(each.cost_micro for each in records),
    )


def within(records: list[UsageRecord], period: Period) -> list[UsageRecord]:
    return [each for each in records if period.since <= each.created_at < period.until]


def roll_up_but(user: User, *, later_than: Any) -> None:
    """Roll-ups of what there was at a moment, and records since."""
    later = UsageRecord.objects.filter(created_at__gt=later_than)
    kept = list(later)
    later.delete()
    rollups.roll_up()
    UsageRecord.objects.bulk_create(kept)


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("rolled_up", ["never", "a day and a half ago", "within this hour"])
def test_figures_are_complete_whether_rolled_up_or_not(user: User, name: str, rolled_up: str) -> None:
    period, records = CHOSEN[name], spread(user)
    if rolled_up == "a day and a half ago":
        roll_up_but(user, later_than=NOW - 1.5 * DAY)
    elif rolled_up == "within this hour":
        rollups.roll_up()
        records.append(record(user, NOW + timedelta(minutes=1), total_ms=9_999))
    used = within(records, period)
    found = figures.over(user_id=user.pk, period=period)
    assert found.total == summed(used)
    assert [each.starts_at for each in found.slices] == list(period.starts)
    ends = [*period.starts[1:], period.until]
    for each, end in zip(found.slices, ends, strict=True):
        inside = [one for one in used if each.starts_at <= one.created_at < end]
        whole = [one.total_ms for one in inside if one.outcome == "completed"]
        assert each.figures == summed(inside)
        assert each.latency == latency.latency(counted(whole))
    assert found.latency == latency.latency(
        counted([one.total_ms for one in used if one.outcome == "completed"])
    )
    assert sum(share.figures.cost_micro for share in found.shares) == found.total.cost_micro


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("name", ["48h", "30d"])
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("model", [None, "model-1", "model-nobody-knows"])
@pytest.mark.parametrize("endpoint", [None, "messages"])
def test_figures_can_be_those_of_a_key_a_model_and_an_endpoint(
    user: User, rolled_up: bool, name: str, by_key: bool, model: str | None, endpoint: str | None
) -> None:
    records, period = spread(user), CHOSEN[name]
    if rolled_up:
        rollups.roll_up()
    key_id = user.pk * 10 if by_key else None
    wanted = [
        each
        for each in within(records, period)
        if key_id in (None, each.key_id) and model in (None, each.model) and endpoint in (None, each.endpoint)
    ]
    asked: Any = {
        "user_id": user.pk,
        "period": period,
        "key_id": key_id,
        "model": model,
        "endpoint": endpoint,
    }
    found = figures.over(**asked)
    assert found.total == summed(wanted)
    assert found.by_endpoint == {
        name: summed(of_it)
        for name in ("chat", "messages")
        if (of_it := [each for each in wanted if each.endpoint == name])
    }
    assert sum(share.figures.requests for share in found.shares) == len(wanted)
    used = {(each.key_id, each.model, each.endpoint) for each in figures.used(**asked)}
    assert used == {(each.key_id, each.model, each.endpoint) for each in wanted}


def test_each_slice_knows_its_endpoints(user: User) -> None:
    record(user, MIDNIGHT, endpoint="images")
    record(user, MIDNIGHT, endpoint="images", completion_tokens=7)
    record(user, MIDNIGHT, endpoint="speech")
    rollups.roll_up()
    [used] = [
        each
        for each in figures.over(user_id=user.pk, period=CHOSEN["7d"]).slices
        if each.starts_at == MIDNIGHT
    ]
    assert {name: each.requests for name, each in used.by_endpoint.items()} == {"images": 2, "speech": 1}
    assert used.figures.requests == 3


def test_a_slice_begins_and_ends_to_the_microsecond(user: User) -> None:
    record(user, MIDNIGHT - timedelta(microseconds=1))
    record(user, MIDNIGHT)
    record(user, MIDNIGHT + timedelta(minutes=59))
    for name, step, expected in (("7d", DAY, [1, 2]), ("24h", timedelta(hours=1), [1, 2])):
        slices = figures.over(user_id=user.pk, period=CHOSEN[name]).slices
        by_start = {each.starts_at: each.figures.requests for each in slices}
        assert [by_start[MIDNIGHT - step], by_start[MIDNIGHT]] == expected


def test_shares_are_by_key_and_model_from_the_dearest_down(user: User) -> None:
    key = APIKeyFactory.create(user=user, name="laptop", last_four="aB12")
    record(user, NOW, key_id=key.pk, model="small", completion_tokens=1)
    record(user, NOW, key_id=key.pk, model="large", completion_tokens=100)
    record(user, NOW, key_id=-1, model="large", completion_tokens=50)
    shares = figures.over(user_id=user.pk, period=CHOSEN["24h"]).shares
    laptop = figures.KeyLabel("laptop", "aB12")
    assert [(share.key, share.model) for share in shares] == [
        (laptop, "large"),
        (figures.KeyLabel("#-1"), "large"),
        (laptop, "small"),
    ]


def test_nobody_sees_what_others_used(user: User) -> None:
    spread(UserFactory.create())
    rollups.roll_up()
    record(UserFactory.create(), NOW)
    assert figures.over(user_id=user.pk, period=CHOSEN["90d"]).total == Figures()
    assert figures.used(user_id=user.pk, period=CHOSEN["90d"]) == []


def test_a_page_of_figures_takes_the_same_few_queries_over_any_period(
    user: User, django_assert_num_queries: Any
) -> None:
    spread(user)
    rollups.roll_up()
    for period in CHOSEN.values():
        with django_assert_num_queries(4):
            figures.over(user_id=user.pk, period=period)
