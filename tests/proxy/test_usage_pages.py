"""The usage page shows all that a user used and nothing of anybody else, rolled up or not."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from proxy import rollups, usage
from proxy.chart import chart
from proxy.models import UsageRecord, UsageRollup
from proxy.usage import Figures
from tests.factories import UserFactory
from tests.proxy.factories import APIKeyFactory, UsageRecordFactory

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran
NOW = MIDNIGHT + timedelta(hours=15, minutes=40)


@pytest.fixture(autouse=True)
def nothing_rolled_up() -> None:
    UsageRecord.objects.all().delete()
    UsageRollup.objects.all().delete()


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


@pytest.fixture
def page(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def record(user: User, at: datetime, **fields: Any) -> UsageRecord:
    made: UsageRecord = UsageRecordFactory.create(user_id=user.pk, created_at=at, **fields)
    return made


def spread(user: User) -> None:
    """Forty requests, ninety minutes apart, back from NOW."""
    for back in range(40):
        outcome = "upstream_failed" if back % 7 == 0 else "completed"
        record(
            user, NOW - timedelta(minutes=90 * back), prompt_tokens=back + 1, outcome=outcome, key_id=back % 2
        )


# --- figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", usage.PERIODS)
@pytest.mark.parametrize("rolled_up", ["never", "a day and a half ago", "within this hour", "all of it"])
def test_figures_are_complete_whether_rolled_up_or_not(user: User, period: str, rolled_up: str) -> None:
    spread(user)
    by, count = usage.PERIODS[period]
    first = (
        MIDNIGHT + timedelta(hours=15 - count + 1) if by == "hour" else MIDNIGHT - timedelta(days=count - 1)
    )
    records = list(UsageRecord.objects.filter(created_at__gte=first))
    ends = {"a day and a half ago": NOW - timedelta(hours=36), "within this hour": NOW, "all of it": NOW}
    if rolled_up != "never":
        later = UsageRecord.objects.filter(created_at__gt=ends[rolled_up])
        kept = list(later)
        later.delete()
        rollups.roll_up()
        UsageRecord.objects.bulk_create(kept)
    if rolled_up == "within this hour":
        records.append(record(user, NOW + timedelta(minutes=1)))
    found = usage.over(user_id=user.pk, period=period, now=NOW)
    total = Figures(
        requests=len(records),
        errors=sum(each.outcome == "upstream_failed" for each in records),
        prompt_tokens=sum(each.prompt_tokens for each in records),
        completion_tokens=sum(each.completion_tokens for each in records),
        cost_micro=sum(each.cost_micro for each in records),
    )
    assert found.total == total
    assert len(found.slices) == count
    assert found.slices[0].starts_at == first
    for field in ("requests", "errors", "prompt_tokens", "completion_tokens", "cost_micro"):
        assert sum(getattr(each.figures, field) for each in found.slices) == getattr(total, field)
        assert sum(getattr(each.figures, field) for each in found.shares) == getattr(total, field)


def test_every_slice_holds_what_happened_in_it(user: User) -> None:
    record(user, MIDNIGHT - timedelta(microseconds=1))
    record(user, MIDNIGHT)
    record(user, MIDNIGHT + timedelta(minutes=59))
    by_day = {
        each.starts_at: each.figures.requests
        for each in usage.over(user_id=user.pk, period="7d", now=NOW).slices
    }
    assert by_day[MIDNIGHT] == 2
    assert by_day[MIDNIGHT - timedelta(days=1)] == 1
    hours = usage.over(user_id=user.pk, period="24h", now=NOW).slices
    by_hour = {each.starts_at: each.figures.requests for each in hours}
    assert by_hour[MIDNIGHT] == 2
    assert by_hour[MIDNIGHT - timedelta(hours=1)] == 1


def test_shares_are_by_key_and_model_from_the_dearest_down(user: User) -> None:
    key = APIKeyFactory.create(user=user, name="laptop", last_four="aB12")
    record(user, NOW, key_id=key.pk, model="small", completion_tokens=1)
    record(user, NOW, key_id=key.pk, model="large", completion_tokens=100)
    record(user, NOW, key_id=-1, model="large", completion_tokens=50)
    shares = usage.over(user_id=user.pk, period="24h", now=NOW).shares
    laptop = usage.KeyLabel("laptop", "aB12")
    assert [(share.key, share.model) for share in shares] == [
        (laptop, "large"),
        (usage.KeyLabel("#-1"), "large"),
        (laptop, "small"),
    ]


def test_nobody_sees_what_others_used(user: User) -> None:
    other = UserFactory.create()
    record(other, NOW)
    rollups.roll_up()
    record(other, NOW)
    assert usage.over(user_id=user.pk, period="90d", now=NOW).total == Figures()
    assert usage.log(user_id=user.pk).requests == []


def test_a_page_of_figures_takes_the_same_few_queries_over_any_period(
    user: User, django_assert_num_queries: Any
) -> None:
    spread(user)
    rollups.roll_up()
    for period in usage.PERIODS:
        with django_assert_num_queries(3):
            usage.over(user_id=user.pk, period=period, now=NOW)


# --- the request log ------------------------------------------------------------------------------------------------


def test_the_log_can_be_read_to_its_end_without_loss_or_repeat(user: User) -> None:
    made = {record(user, NOW - timedelta(minutes=i // 4)).id for i in range(23)}  # four at every moment
    seen: list[uuid.UUID] = []
    cursor = None
    while True:
        found = usage.log(user_id=user.pk, cursor=cursor, size=5)
        seen += [each.record.id for each in found.requests]
        record(user, NOW + timedelta(minutes=1))  # what arrives meanwhile moves nothing
        cursor = found.older
        if cursor is None:
            break
    assert len(seen) == 23
    assert set(seen) == made


@pytest.mark.parametrize(
    "cursor", ["", "x", "1_", f"_{uuid.UUID(int=1)}", f"{10**30}_{uuid.UUID(int=1)}", "\x00_\x00", "۱_۲"]
)
def test_a_cursor_that_makes_no_sense_shows_the_first_page(user: User, cursor: str) -> None:
    newest = record(user, NOW)
    assert [each.record for each in usage.log(user_id=user.pk, cursor=cursor).requests] == [newest]


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_asks_who_is_there(client: Client) -> None:
    response = client.get(reverse("proxy:usage"))
    assert response.status_code == 302
    assert reverse("accounts:sign_in") in response["Location"]


def test_an_account_that_used_nothing_is_told_what_will_be_here(page: Client) -> None:
    content = page.get(reverse("proxy:usage")).content.decode()
    assert "Nothing used in this period" in content
    assert '<svg class="chart__bars"' not in content


@pytest.mark.parametrize("period", [*usage.PERIODS, "nonsense"])
def test_the_page_shows_bars_and_the_table_beside_them(page: Client, user: User, period: str) -> None:
    record(user, timezone.now(), prompt_tokens=1_234, completion_tokens=5_678, model="model-x")
    response = page.get(reverse("proxy:usage"), {"period": period})
    content = response.content.decode()
    assert response.status_code == 200
    assert len(re.findall(r'<rect class="chart__bar"', content)) == 2  # cost and requests of one slice
    assert content.count("1,234") == 4  # sum, slice, share, log
    assert "model-x" in content
    assert "style=" not in content  # the content security policy would drop it


def test_the_page_pages_through_the_log(page: Client, user: User) -> None:
    for i in range(usage.LOG_PAGE + 1):
        record(user, timezone.now() - timedelta(minutes=i), prompt_tokens=100_000 + i)
    first = page.get(reverse("proxy:usage")).content.decode()
    link = re.search(r'href="(\?period=30d&amp;before=[^"#]+)#log"', first)
    assert link is not None
    second = page.get(reverse("proxy:usage") + link[1].replace("&amp;", "&")).content.decode()
    assert "100,050" in second
    assert "100,049" not in second
    assert "Newest" in second
    assert "Older" not in second


def test_the_page_speaks_persian(page: Client, user: User) -> None:
    page.cookies["hamiran_language"] = "fa"
    record(user, timezone.now(), prompt_tokens=1_234)
    content = page.get(reverse("proxy:usage")).content.decode()
    assert 'dir="rtl"' in content
    assert "۱٬۲۳۴" in content
    assert re.search(r'<rect class="chart__bar" x="\d+" y="\d+"', content)  # code stays in ASCII digits


def test_the_page_is_read_only(page: Client) -> None:
    assert page.post(reverse("proxy:usage")).status_code == 405
    assert page.head(reverse("proxy:usage")).status_code == 200


# --- bars -----------------------------------------------------------------------------------------------------------


def test_bars_are_in_proportion_and_the_smallest_is_still_seen() -> None:
    drawn = chart([("a", 1_000_000), ("b", 500_000), ("c", 1), ("d", 0)])
    assert [bar.height for bar in drawn.bars] == [100, 50, 1, 0]
    assert all(bar.y + bar.height == drawn.height for bar in drawn.bars)
    assert drawn.bars[-1].x + drawn.bar_width <= drawn.width
    assert drawn.peak == 1_000_000


def test_no_values_make_no_bars() -> None:
    assert chart([]).bars == []
    assert chart([("a", 0)]).peak == 0
