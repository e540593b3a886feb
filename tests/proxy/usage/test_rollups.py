"""Roll-ups equal the records they are made from, whenever and however often they are made."""

import bisect
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from keys.models import APIKey
from proxy import tasks
from proxy.usage import integrity as usage_integrity
from proxy.usage import rollups
from proxy.usage.latency import BOUNDS_MS
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from tests.factories import WalletFactory
from tests.proxy.factories import APIKeyFactory, UsageRecordFactory
from wallet.ledger.models import JournalEntry

pytestmark = pytest.mark.django_db

# 20:30 UTC is midnight in Tehran.
MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)
FIGURES = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_micro")


@pytest.fixture(autouse=True)
def nothing_used() -> None:
    UsageRecord.objects.all().delete()
    UsageRollup.objects.all().delete()
    EndUserRollup.objects.all().delete()


def record(at: datetime, **fields: Any) -> UsageRecord:
    """For one of two end users, where nothing else is said, so that each test holds for their days as well."""
    named = b"ab"[at.minute % 2 :][:1]
    user = {"end_user": named, "end_user_hint": named.decode()}
    made: UsageRecord = UsageRecordFactory.create(created_at=at, **(user | fields))
    return made


def rolled(period: str) -> dict[tuple[Any, ...], tuple[int, ...]]:
    rows = UsageRollup.objects.filter(period=period)
    return {
        (row.starts_at, row.user_id, row.key_id, row.model, row.endpoint): tuple(
            getattr(row, name) for name in FIGURES
        )
        for row in rows
    }


def expected(
    period: str, records: Sequence[UsageRecord] | None = None
) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The same, record by record in Python. Tehran has been three and a half hours ahead of UTC all year since 2022."""
    sums: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for used in UsageRecord.objects.all() if records is None else records:
        local = used.created_at.astimezone(UTC).replace(tzinfo=None) + timedelta(hours=3, minutes=30)
        start = local.replace(minute=0, second=0, microsecond=0)
        if period == "day":
            start = start.replace(hour=0)
        slot = (
            (start - timedelta(hours=3, minutes=30)).replace(tzinfo=UTC),
            used.user_id,
            used.key_id,
            used.model,
            used.endpoint,
        )
        failed = used.outcome not in ("completed", "client_left")
        figures = (
            1,
            int(failed),
            used.prompt_tokens,
            used.cached_tokens,
            used.completion_tokens,
            used.cost_micro,
        )
        sums[slot] = tuple(a + b for a, b in zip(sums.get(slot, (0,) * 6), figures, strict=True))
    return sums


def rolled_for_end_users() -> dict[tuple[Any, ...], tuple[int, ...]]:
    return {
        (
            bytes(row.end_user),
            row.end_user_hint,
            row.starts_at,
            row.user_id,
            row.key_id,
            row.model,
            row.endpoint,
        ): tuple(getattr(row, name) for name in FIGURES)
        for row in EndUserRollup.objects.all()
    }


def expected_for_end_users() -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The same, of the records before the last hour that is rolled up."""
    until = rollups.rolled_up_until()
    assert until is not None
    sums: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for used in UsageRecord.objects.filter(created_at__lt=until, end_user__isnull=False):
        [(slot, figures)] = expected("day", [used]).items()
        named = (bytes(used.end_user or b""), used.end_user_hint, *slot)
        sums[named] = tuple(a + b for a, b in zip(sums.get(named, (0,) * 6), figures, strict=True))
    return sums


def assert_rolled_up() -> None:
    assert rolled("hour") == expected("hour")
    assert rolled("day") == expected("day")
    assert rolled_for_end_users() == expected_for_end_users()


def test_roll_ups_equal_the_records() -> None:
    combinations = itertools.product((1, 2), ("model-a", "model-b"), UsageRecord.Outcome.values)
    for minutes, (key_id, model, outcome) in enumerate(combinations):
        named: dict[str, Any] = {} if minutes % 3 else {"end_user": None, "end_user_hint": ""}
        record(
            MIDNIGHT + timedelta(minutes=17 * minutes),
            user_id=key_id * 10,
            key_id=key_id,
            model=model,
            outcome=outcome,
            endpoint="messages" if minutes % 4 else "chat",
            prompt_tokens=minutes + 3,
            cached_tokens=minutes % 3,
            **named,
        )
    rollups.roll_up()
    assert_rolled_up()
    assert rolled_for_end_users()
    assert sum(row[0] for row in rolled("day").values()) == 20
    assert sum(row[1] for row in rolled("day").values()) == 12  # three of five outcomes are errors


def test_rolling_up_twice_changes_nothing() -> None:
    for hours in range(5):
        record(MIDNIGHT + timedelta(hours=hours))
    rollups.roll_up()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text FROM proxy_rollup ORDER BY id")
        before = cursor.fetchall()
        rollups.roll_up()
        cursor.execute("SELECT id, xmin::text FROM proxy_rollup ORDER BY id")
        assert cursor.fetchall() == before
    assert_rolled_up()


def test_rolling_up_nothing_is_nothing() -> None:
    assert rollups.roll_up() is None
    assert not UsageRollup.objects.exists()


def test_the_day_begins_at_midnight_in_tehran() -> None:
    record(MIDNIGHT - timedelta(microseconds=1))
    record(MIDNIGHT)
    rollups.roll_up()
    assert sorted(start for start, *_rest in rolled("day")) == [MIDNIGHT - timedelta(days=1), MIDNIGHT]
    assert sorted(start for start, *_rest in rolled("hour")) == [MIDNIGHT - timedelta(hours=1), MIDNIGHT]


def test_what_is_added_later_is_added_to_the_roll_ups() -> None:
    record(MIDNIGHT)
    rollups.roll_up()
    record(MIDNIGHT + timedelta(minutes=5))
    record(MIDNIGHT + timedelta(hours=1))
    rollups.roll_up()
    assert_rolled_up()


def test_a_record_that_commits_after_its_hour_was_rolled_up_is_not_lost() -> None:
    record(MIDNIGHT + timedelta(hours=1))
    rollups.roll_up()
    record(MIDNIGHT + timedelta(minutes=59, seconds=59))
    record(MIDNIGHT + timedelta(minutes=10), key_id=9)
    rollups.roll_up()
    assert_rolled_up()


def test_a_record_that_commits_after_midnight_is_not_lost_from_its_day() -> None:
    record(MIDNIGHT + timedelta(minutes=1))
    rollups.roll_up()
    record(MIDNIGHT - timedelta(seconds=1))
    rollups.roll_up()
    assert_rolled_up()


def test_the_hour_that_runs_is_summed_when_it_is_over() -> None:
    record(MIDNIGHT)
    rollups.roll_up()
    record(MIDNIGHT + timedelta(minutes=50))
    assert rollups.roll_up() is None
    record(MIDNIGHT + timedelta(hours=1))
    assert rollups.roll_up() is not None
    assert_rolled_up()


def test_a_record_that_commits_much_later_comes_in_with_the_next_hour() -> None:
    record(MIDNIGHT + timedelta(hours=1))
    record(MIDNIGHT + timedelta(hours=1, minutes=6))
    rollups.roll_up()
    record(MIDNIGHT + timedelta(minutes=59))
    assert rollups.roll_up() is None
    record(MIDNIGHT + timedelta(hours=2))
    rollups.roll_up()
    assert_rolled_up()


def test_roll_ups_that_are_made_anew_are_the_same() -> None:
    for hours in range(30):
        record(MIDNIGHT + timedelta(hours=hours, minutes=hours), key_id=hours % 3)
        rollups.roll_up()
    record(MIDNIGHT + timedelta(hours=30))
    rollups.roll_up()
    whole = rolled("hour"), rolled("day")
    UsageRollup.objects.all().delete()
    rollups.roll_up()
    assert (rolled("hour"), rolled("day")) == whole
    assert_rolled_up()


def test_days_without_a_worker_are_made_up_for() -> None:
    record(MIDNIGHT)
    tasks.roll_up_usage()
    for days in range(1, 9):
        record(MIDNIGHT + timedelta(days=days, hours=days))
    tasks.roll_up_usage()
    assert_rolled_up()


def test_two_at_once_make_the_same_as_one() -> None:
    for hours in range(5):
        record(MIDNIGHT + timedelta(hours=hours))
    rollups.roll_up(since=MIDNIGHT + timedelta(hours=2))
    rollups.roll_up(since=MIDNIGHT)
    rollups.roll_up(since=MIDNIGHT + timedelta(hours=3))
    assert_rolled_up()


@pytest.mark.parametrize(
    ("model", "constraint"),
    [(UsageRollup, "rollup_once_each"), (EndUserRollup, "end_user_rollup_once")],
)
def test_the_database_refuses_a_second_roll_up_of_the_same(model: Any, constraint: str) -> None:
    record(MIDNIGHT)
    record(MIDNIGHT + timedelta(hours=1))
    rollups.roll_up()
    again = model.objects.first()
    again.pk = None
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        again.save(force_insert=True)


# --- latency ----------------------------------------------------------------------------------------------------


def latencies(period: str) -> dict[Any, dict[int, int]]:
    return {
        row.starts_at: dict(zip(row.latency_buckets or [], row.latency_counts or [], strict=True))
        for row in UsageRollup.objects.filter(period=period)
    }


def bucket(milliseconds: int) -> int:
    return bisect.bisect_right(BOUNDS_MS, milliseconds)


def test_roll_ups_count_how_long_whole_answers_took() -> None:
    for minutes, total_ms in enumerate((100, 101, 5_000, 0, 10**7)):
        record(MIDNIGHT + timedelta(minutes=minutes), total_ms=total_ms)
    record(MIDNIGHT + timedelta(hours=1), total_ms=100)
    record(MIDNIGHT + timedelta(hours=1), total_ms=777, outcome="upstream_failed")
    record(MIDNIGHT + timedelta(hours=1), total_ms=777, outcome="client_left")
    rollups.roll_up()
    first = {bucket(0): 1, bucket(100): 2, bucket(5_000): 1, bucket(10**7): 1}
    assert latencies("hour") == {MIDNIGHT: first, MIDNIGHT + timedelta(hours=1): {bucket(100): 1}}
    assert latencies("day") == {MIDNIGHT: first | {bucket(100): 3}}


def test_where_nothing_came_whole_there_is_no_latency_and_nothing_to_make_up_for() -> None:
    record(MIDNIGHT, outcome="refused")
    rollups.roll_up()
    assert latencies("hour") == latencies("day") == {MIDNIGHT: {}}
    assert rollups.add_latency() is None


def test_roll_ups_from_before_latencies_get_them_a_day_at_a_time_the_newest_first() -> None:
    for days in range(3):
        record(MIDNIGHT + timedelta(days=days, hours=5), total_ms=1_000 * (days + 1))
    rollups.roll_up()
    whole = rolled("day"), latencies("hour"), latencies("day")
    UsageRollup.objects.update(latency_buckets=None, latency_counts=None)
    made = [rollups.add_latency() for _ in range(4)]
    assert made == [MIDNIGHT + timedelta(days=2), MIDNIGHT + timedelta(days=1), MIDNIGHT, None]
    assert (rolled("day"), latencies("hour"), latencies("day")) == whole
    assert_rolled_up()


def test_an_old_roll_up_whose_records_are_gone_keeps_its_sums_and_is_asked_for_once() -> None:
    record(MIDNIGHT)
    rollups.roll_up()
    before = rolled("hour"), rolled("day")
    UsageRecord.objects.all().delete()
    UsageRollup.objects.update(latency_buckets=None, latency_counts=None)
    assert rollups.add_latency() == MIDNIGHT
    assert rollups.add_latency() is None
    assert (rolled("hour"), rolled("day")) == before


# --- last use --------------------------------------------------------------------------------------------------


def test_keys_learn_when_they_were_last_used() -> None:
    used, other = APIKeyFactory.create(), APIKeyFactory.create()
    APIKey.objects.update(last_used_at=None)
    record(MIDNIGHT, key_id=used.pk)
    record(MIDNIGHT + timedelta(minutes=3), key_id=used.pk)
    tasks.flush_last_used()
    used.refresh_from_db()
    other.refresh_from_db()
    assert used.last_used_at == MIDNIGHT + timedelta(minutes=3)
    assert other.last_used_at is None


def test_last_use_catches_up_after_days_without_a_worker() -> None:
    busy, rare = APIKeyFactory.create(), APIKeyFactory.create()
    APIKey.objects.update(last_used_at=None)
    record(MIDNIGHT, key_id=busy.pk)
    rollups.flush_last_used()
    record(MIDNIGHT + timedelta(days=1), key_id=rare.pk)
    record(MIDNIGHT + timedelta(days=5), key_id=busy.pk)
    rollups.flush_last_used()
    rare.refresh_from_db()
    busy.refresh_from_db()
    assert rare.last_used_at == MIDNIGHT + timedelta(days=1)
    assert busy.last_used_at == MIDNIGHT + timedelta(days=5)


# --- what PostgreSQL refuses -------------------------------------------------------------------------------------


def test_the_database_refuses_two_roll_ups_of_one_hour_key_and_model() -> None:
    record(MIDNIGHT)
    rollups.roll_up()
    row = UsageRollup.objects.get(period="hour")
    row.pk = None
    with pytest.raises(IntegrityError, match="rollup_once"), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"latency_counts": None},
        {"latency_buckets": None},
        {"latency_buckets": [1, 2]},
        {"latency_counts": []},
    ],
)
def test_the_database_refuses_buckets_without_counts(fields: dict[str, Any]) -> None:
    record(MIDNIGHT)
    rollups.roll_up()
    with pytest.raises(IntegrityError, match="rollup_latency_in_pairs"), transaction.atomic():
        UsageRollup.objects.update(**fields)


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("usage_cost_is_tokens_times_price", {"cost_micro": 1}),
        ("usage_cost_is_tokens_times_price", {"uncovered_micro": 1}),
        ("usage_cost_is_tokens_times_price", {"billed_by": "nothing"}),
        ("usage_cached_within_prompt", {"cached_tokens": 11}),
    ],
)
def test_the_database_refuses_a_record_whose_cost_does_not_follow(
    constraint: str, fields: dict[str, Any]
) -> None:
    if fields == {"billed_by": "nothing"}:
        fields["cost_micro"] = 2
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        record(MIDNIGHT, **fields)


def test_the_database_takes_what_is_uncovered_or_not_billed() -> None:
    record(MIDNIGHT, uncovered_micro=1_000, cost_micro=29_000)
    record(MIDNIGHT, billed_by="nothing", cost_micro=0)
    assert UsageRecord.objects.count() == 2


# --- integrity --------------------------------------------------------------------------------------------------


def violations() -> dict[str, list[Any]]:
    found = {}
    with connection.cursor() as cursor:
        for name, query in usage_integrity.CHECKS:
            if isinstance(query, str):
                cursor.execute(query)
                found[name] = cursor.fetchall()
    return {name: rows for name, rows in found.items() if rows}


def book(used: UsageRecord, *, wallet_id: int, amount_micro: int) -> None:
    booked = {"transaction_id": used.id, "kind": "completion", "created_at": timezone.now()}
    wallet_leg = JournalEntry(
        account="wallet", wallet_id=wallet_id, amount_micro=amount_micro, balance_micro=0, **booked
    )
    JournalEntry.objects.bulk_create(
        [wallet_leg, JournalEntry(account="revenue", amount_micro=-amount_micro, **booked)]
    )


def test_usage_that_is_in_the_journal_with_its_cost_is_no_violation() -> None:
    wallet = WalletFactory.create()
    before = violations()
    used = record(MIDNIGHT, user_id=wallet.pk)
    book(used, wallet_id=wallet.pk, amount_micro=-used.cost_micro)
    record(MIDNIGHT, user_id=wallet.pk, billed_by="nothing", cost_micro=0)
    assert violations() == before


@pytest.mark.parametrize("broken", ["not booked", "booked with another cost", "booked on another wallet"])
def test_usage_that_the_journal_contradicts_is_found(broken: str) -> None:
    wallet, other = WalletFactory.create(), WalletFactory.create()
    used = record(MIDNIGHT, user_id=wallet.pk)
    if broken == "booked with another cost":
        book(used, wallet_id=wallet.pk, amount_micro=-1)
    elif broken == "booked on another wallet":
        book(used, wallet_id=other.pk, amount_micro=-used.cost_micro)
    name, _sql = usage_integrity.CHECKS[0]
    assert used.id in [row[0] for row in violations()[name]]


def test_a_completion_in_the_journal_without_its_usage_record_is_found() -> None:
    wallet = WalletFactory.create()
    ghost = UsageRecordFactory.build()
    book(ghost, wallet_id=wallet.pk, amount_micro=-5)
    name, _sql = usage_integrity.CHECKS[1]
    assert ghost.id in [row[0] for row in violations()[name]]
