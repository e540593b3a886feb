"""The log holds what is asked for and nothing else, once, whatever is rolled up."""

import csv
import io
import itertools
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from proxy.usage import log as usage_log
from proxy.usage import log_csv, periods, rollups
from proxy.usage.log import FAILED, Filter, Outcome
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from tests.factories import UserFactory
from tests.live import web_process
from tests.proxy.factories import APIKeyFactory
from tests.proxy.usage.used import NOW, record, spread

MONTH = periods.preset("30d", now=NOW)
OUTCOMES = {"any": None, "failed": FAILED, **{each.value: (each,) for each in Outcome}}


@pytest.fixture
def nothing_rolled_up(db: None) -> None:
    UsageRecord.objects.all().delete()
    UsageRollup.objects.all().delete()
    EndUserRollup.objects.all().delete()


@pytest.fixture
def user(nothing_rolled_up: None) -> User:
    made: User = UserFactory.create()
    return made


def read(user: User, wanted: Filter, size: int = 7) -> list[uuid.UUID]:
    seen: list[uuid.UUID] = []
    cursor = None
    while True:
        page = usage_log.page(user_id=user.pk, wanted=wanted, cursor=cursor, size=size)
        seen += [each.record.id for each in page.requests]
        cursor = page.older
        if cursor is None:
            return seen


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("model", [None, "model-1"])
def test_any_filter_finds_all_that_it_names_newest_first(
    user: User, rolled_up: bool, outcome: str, by_key: bool, model: str | None
) -> None:
    records, outcomes = spread(user), OUTCOMES[outcome]
    ali = bytes(next(each.end_user for each in records if each.end_user_hint == "ali") or b"")
    spread(UserFactory.create())
    if rolled_up:
        rollups.roll_up()
        late: dict[str, Any] = {"key_id": user.pk * 10, "model": "model-1", "outcome": "refused"}
        records.append(record(user, NOW, **late))
        records.append(record(user, NOW, **late, endpoint="messages", end_user=ali, end_user_hint="ali"))
    key_id = user.pk * 10 if by_key else None
    for endpoint, end_user in itertools.product((None, "messages"), (None, ali)):
        expected = [
            each
            for each in records
            if key_id in (None, each.key_id)
            and model in (None, each.model)
            and endpoint in (None, each.endpoint)
            and end_user in (None, each.end_user)
            and (outcomes is None or each.outcome in outcomes)
        ]
        expected.sort(key=lambda each: (each.created_at, each.id), reverse=True)
        wanted = Filter(MONTH, key_id, model, outcomes, endpoint, end_user)
        assert read(user, wanted) == [each.id for each in expected], wanted


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"key_id": 1},
        {"model": "model-0"},
        {"endpoint": "messages"},
        {"outcomes": FAILED},
        {"outcomes": (Outcome.COMPLETED,)},
        {"end_user": b"nobody's"},
    ],
)
def test_a_clients_own_id_finds_its_requests_and_no_others(user: User, more: dict[str, Any]) -> None:
    records = spread(user)
    spread(UserFactory.create())
    if "key_id" in more:
        more = {"key_id": user.pk * 10 + more["key_id"]}
    outcomes = more.pop("outcomes", None)
    expected = [
        each
        for each in records
        if each.client_request_id == "job-3"
        and all(getattr(each, name) == value for name, value in more.items())
        and (outcomes is None or each.outcome in outcomes)
    ]
    wanted = Filter(MONTH, client_request_id="job-3", outcomes=outcomes, **more)
    assert read(user, wanted, size=2) == [each.id for each in expected]
    assert bool(expected) == ("end_user" not in more)


@pytest.mark.parametrize("key_id", [None, 5])
def test_requests_of_one_moment_are_neither_lost_nor_repeated_between_pages(
    user: User, key_id: int | None
) -> None:
    made = {record(user, NOW - timedelta(minutes=i // 4), key_id=5).id for i in range(23)}
    seen = read(user, Filter(MONTH, key_id=key_id), size=5)
    assert len(seen) == 23
    assert set(seen) == made


def test_what_arrives_while_somebody_reads_moves_nothing(user: User) -> None:
    for minutes in range(10):
        record(user, NOW - timedelta(minutes=minutes))
    first = usage_log.page(user_id=user.pk, wanted=Filter(MONTH), size=5)
    record(user, NOW + timedelta(minutes=1))
    second = usage_log.page(user_id=user.pk, wanted=Filter(MONTH), cursor=first.older, size=5)
    assert {each.record.id for each in first.requests}.isdisjoint(each.record.id for each in second.requests)
    assert second.older is None


def test_a_period_ends_where_it_ends(user: User) -> None:
    day = periods.of_days(NOW.date(), NOW.date())
    inside = [record(user, day.since), record(user, day.until - timedelta(microseconds=1))]
    record(user, day.since - timedelta(microseconds=1))
    record(user, day.until)
    for wanted in (Filter(day), Filter(day, model=inside[0].model)):
        assert read(user, wanted) == [each.id for each in reversed(inside)]


@pytest.mark.parametrize(
    "cursor", ["", "x", "1_", f"_{uuid.UUID(int=1)}", f"{10**30}_{uuid.UUID(int=1)}", "\x00_\x00", "۱_۲"]
)
def test_a_cursor_that_makes_no_sense_shows_the_first_page(user: User, cursor: str) -> None:
    newest = record(user, NOW)
    page = usage_log.page(user_id=user.pk, wanted=Filter(MONTH), cursor=cursor)
    assert [each.record for each in page.requests] == [newest]


def test_one_request_is_found_by_its_owner_alone(user: User) -> None:
    key = APIKeyFactory.create(user=user, name="laptop", last_four="aB12")
    made = record(user, NOW, key_id=key.pk)
    found = usage_log.one(user_id=user.pk, request_id=made.id)
    assert (found.record, found.key.name) == (made, "laptop")
    with pytest.raises(UsageRecord.DoesNotExist):
        usage_log.one(user_id=UserFactory.create().pk, request_id=made.id)


# --- as a file ---------------------------------------------------------------------------------------------------

WORDING = log_csv.Wording(
    header=("a header",),
    outcomes={each.value: each.value.upper() for each in Outcome},
    billed_by={each.value: each.value.upper() for each in UsageRecord.BilledBy},
)


def parsed(user: User, wanted: Filter) -> list[list[str]]:
    text = b"".join(log_csv.chunks(user_id=user.pk, wanted=wanted, wording=WORDING)).decode()
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def test_the_file_is_exact(user: User) -> None:
    key = APIKeyFactory.create(user=user, name="=cmd; 1", last_four="aB12")
    made = record(
        user, NOW, key_id=key.pk, stream=True, first_byte_ms=30, prompt_tokens=1_234, cached_tokens=34,
        client_request_id="job-1", end_user=b"x", end_user_hint="=cmd",
    )  # fmt: skip
    assert parsed(user, Filter(MONTH)) == [
        ["a header"],
        [
            "2026-11-21T15:40:00.000+03:30", "1405/08/30", made.id.hex, "'=cmd; 1", "aB12", "model-a", "chat", "1",
            "1234", "34", "5", "0.12285", "1228500", "COMPLETED", "USAGE", "200", "30", "120",
            "job-1", "'=cmd",
        ],
    ]  # fmt: skip


def test_the_file_has_every_request_of_the_filter_once_across_its_pieces(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_csv, "BATCH", 6)
    spread(user)
    for wanted in (Filter(MONTH), Filter(MONTH, model="model-1"), Filter(MONTH, outcomes=FAILED)):
        assert [row[2] for row in parsed(user, wanted)[1:]] == [each.hex for each in read(user, wanted)]


def test_the_file_comes_from_a_real_server_in_the_readers_language(committed_db: None) -> None:
    user: User = UserFactory.create()
    key = APIKeyFactory.create(user=user, name="فروشگاه؛ کتاب")
    now = timezone.now()
    for seconds in range(2_100):  # more than a piece
        record(user, now - timedelta(seconds=seconds), key_id=key.pk, model="wanted" if seconds else "other")
    browser = Client()
    browser.force_login(user)
    cookies = {"hamiran_language": "en", "sessionid": browser.cookies["sessionid"].value}
    address = "/usage/requests.csv?period=7d&model=wanted"
    with web_process() as web, httpx.stream("GET", web.url + address, cookies=cookies) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert response.headers["content-disposition"].startswith('attachment; filename="requests-2')
        text = b"".join(response.iter_raw()).decode()
        assert "consume synchronous" not in web.log
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows[0][:7] == ["Time", "Jalali date", "Request id", "Key", "Key ends in", "Model", "Endpoint"]
    assert len(rows) == 2_100
    assert {(row[3], row[5], row[13]) for row in rows[1:]} == {(key.name, "wanted", "completed")}
