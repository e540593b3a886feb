"""What counts as answered and failed, and what the report makes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy import tasks
from proxy.usage.health import counting, report
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.health.report import State
from proxy.usage.models import UsageRecord
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory, UsageRecordFactory
from tests.wallet.test_database_rules import refused_by

pytestmark = pytest.mark.django_db
Outcome = UsageRecord.Outcome
MODEL = "health/model"
MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran
NOW = MIDNIGHT + timedelta(hours=15, minutes=42)
ENOUGH = report.MIN_CALLS


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    for model in (UsageRecord, ModelHealth, HealthProgress):
        model.objects.all().delete()
    sold = LanguageModelFactory.create(model_id=MODEL)
    PriceFactory.create(model=sold, valid_from=MIDNIGHT - timedelta(days=99))
    RouteFactory.create(model=sold)


def calls(count: int = ENOUGH, *, at: datetime = NOW - timedelta(minutes=3), **fields: Any) -> None:
    UsageRecordFactory.create_batch(count, created_at=at, model=MODEL, **fields)


def failures(count: int, **fields: Any) -> None:
    calls(count, **{"outcome": Outcome.UPSTREAM_FAILED, "status": 502, **fields})


def seen(now: datetime = NOW) -> report.ModelReport:
    counting.count(now=now)
    [found] = [each for each in report.make(now).models if each.model_id == MODEL]
    return found


def rows(period: str) -> dict[datetime, tuple[int, int]]:
    found = ModelHealth.objects.filter(period=period, model=MODEL)
    return {row.starts_at: (row.answered, row.failed) for row in found}


def test_without_calls_nothing_is_said() -> None:
    found = seen()
    assert {found.state, found.last_hour.state, found.last_month.state} == {State.UNKNOWN}
    assert (found.last_day.per_mille, found.last_day.whole) == (None, None)
    assert (len(found.hours), len(found.days)) == (24, 30)


def test_of_few_calls_nothing_is_said_either() -> None:
    calls(ENOUGH - 1)
    assert seen().last_month == report.Figures(State.UNKNOWN, None, None, None)


@pytest.mark.parametrize(
    "failed",
    [
        {"outcome": Outcome.UPSTREAM_FAILED, "status": 502},
        {"outcome": Outcome.INTERRUPTED, "status": 503},
        {"outcome": Outcome.INTERRUPTED, "status": 500},
        {"outcome": Outcome.REFUSED, "status": 429},  # the upstream's, about the operator's account
        {"outcome": Outcome.CLIENT_LEFT, "status": 499, "stream": True, "total_ms": 60_000},
    ],
)
def test_what_the_customer_was_no_reason_for_lowers_the_share(failed: dict[str, Any]) -> None:
    calls(15)
    calls(5, **failed)
    found = seen()
    assert (found.last_hour.per_mille, found.last_hour.state, found.state) == (
        750,
        State.DEGRADED,
        State.DEGRADED,
    )


@pytest.mark.parametrize(
    "neither",
    [
        {"outcome": Outcome.REFUSED, "status": 400},
        {"outcome": Outcome.REFUSED, "status": 413},
        {"outcome": Outcome.INTERRUPTED, "status": 402},
        {
            "outcome": Outcome.CLIENT_LEFT,
            "status": 200,
            "stream": True,
            "first_byte_ms": 90,
            "total_ms": 90_000,
        },
        {"outcome": Outcome.CLIENT_LEFT, "status": 499, "stream": True, "total_ms": 59_000},
    ],
)
def test_what_customers_cause_does_not(neither: dict[str, Any]) -> None:
    calls(ENOUGH)
    calls(50, **neither)
    assert seen().last_hour.per_mille == 1000
    assert rows("day") == {MIDNIGHT: (ENOUGH, 0)}


def test_an_outage_is_down_and_what_is_over_leaves_its_mark() -> None:
    calls(100, at=NOW - timedelta(hours=3))
    failures(30, at=NOW - timedelta(hours=2))
    calls(30)
    found = seen()
    assert (found.state, found.last_hour.per_mille) == (State.UP, 1000)
    assert (found.last_day.per_mille, found.last_day.state) == (812, State.DEGRADED)
    assert [mark.state for mark in found.hours[-4:]] == [State.UP, State.DOWN, State.UNKNOWN, State.UP]
    failures(40)
    assert seen(NOW + timedelta(seconds=1)).state is State.DOWN


def test_a_share_is_never_rounded_up() -> None:
    calls(1_999)
    failures(1)
    assert seen().last_hour.per_mille == 999


def test_the_state_now_is_that_of_the_last_minutes() -> None:
    failures(50, at=NOW - timedelta(minutes=40))
    assert seen().state is State.DOWN  # nothing newer is known
    calls(20)
    found = seen(NOW + timedelta(seconds=1))
    assert (found.state, found.last_hour.state) == (State.UP, State.DOWN)


def test_times_are_those_of_answers_alone() -> None:
    calls(20, total_ms=400)
    calls(20, stream=True, first_byte_ms=90, total_ms=9_000)
    failures(20, total_ms=300_000)
    figures = seen().last_day
    assert figures.first_byte is not None
    assert figures.whole is not None
    assert figures.first_byte.p95_ms == pytest.approx(90, rel=0.2)
    assert figures.whole.p95_ms == pytest.approx(400, rel=0.2)


def test_hours_and_days_are_sums_whenever_and_however_often_they_are_counted() -> None:
    moments = [NOW - timedelta(minutes=37 * back) for back in range(120)]
    for number, moment in enumerate(moments):
        calls(1, at=moment, total_ms=50 + number)
        failures(number % 2, at=moment)
    HealthProgress.objects.create(since=moments[-1], counted_until=moments[-1])
    for minutes in range(0, 37 * 120, 301):  # now and then, with gaps
        counting.count(now=moments[-1] + timedelta(minutes=minutes))
    counting.count(now=NOW + timedelta(minutes=1))
    piecemeal = {period: rows(period) for period in ("hour", "day")}
    for period in ("hour", "day"):
        assert (
            sum(a for a, _f in piecemeal[period].values()),
            sum(f for _a, f in piecemeal[period].values()),
        ) == (
            120,
            60,
        )
    day = ModelHealth.objects.get(period="day", model=MODEL, starts_at=MIDNIGHT)
    assert sum(day.whole_counts) == day.answered
    ModelHealth.objects.all().delete()
    HealthProgress.objects.all().delete()
    for _ in range(2):
        counting.count(now=NOW + timedelta(minutes=1))
        assert {period: rows(period) for period in ("hour", "day")} == piecemeal


def test_a_record_that_commits_late_is_counted_by_the_next_run() -> None:
    calls(20)
    counting.count(now=NOW)
    calls(5, at=NOW - timedelta(minutes=2))
    counting.count(now=NOW + timedelta(seconds=30))
    assert rows("hour") == {MIDNIGHT + timedelta(hours=15): (25, 0)}


def test_the_hours_are_tehrans() -> None:
    calls(at=MIDNIGHT - timedelta(minutes=1))
    calls(at=MIDNIGHT)
    counting.count(now=NOW)
    assert sorted(rows("day")) == [MIDNIGHT - timedelta(days=1), MIDNIGHT]
    assert sorted(rows("hour")) == [MIDNIGHT - timedelta(hours=1), MIDNIGHT]


def test_a_long_past_is_counted_in_pieces_and_told_from_when() -> None:
    first = NOW - timedelta(days=20)
    calls(at=first)
    calls(at=NOW - timedelta(days=40))  # beyond what is looked back
    counting.count(now=NOW)
    found = report.make(NOW)
    assert (found.since, found.counted_until, found.is_behind) == (first, NOW, False)
    assert report.make(NOW + timedelta(minutes=11)).is_behind


def test_what_is_old_is_forgotten() -> None:
    calls(at=NOW - timedelta(days=3))
    counting.count(now=NOW)
    assert (len(rows("slot")), len(rows("hour")), len(rows("day"))) == (0, 1, 1)
    later = NOW + timedelta(days=45)
    HealthProgress.objects.update(counted_until=later - timedelta(minutes=1))
    counting.count(now=later)
    assert (len(rows("hour")), len(rows("day"))) == (0, 1)


def test_nothing_is_told_of_what_is_not_on_sale() -> None:
    UsageRecordFactory.create_batch(20, created_at=NOW - timedelta(minutes=3), model="secret/model")
    counting.count(now=NOW)
    assert "secret/model" not in {model.model_id for model in report.make(NOW).models}


def test_the_whole_is_down_only_where_everything_is() -> None:
    assert report.make(NOW).state is State.UNKNOWN
    failures(20)
    counting.count(now=NOW)
    models = [each for each in report.make(NOW).models if each.model_id == MODEL]
    told = report.Report(NOW, None, None, models)
    assert told.state is State.DOWN
    up = replace(models[0], model_id="up", state=State.UP)
    assert report.Report(NOW, None, None, [*models, up]).state is State.DEGRADED


def test_the_task_counts() -> None:
    UsageRecordFactory.create_batch(3, model=MODEL)
    tasks.count_health()
    assert sum(answered for answered, _failed in rows("hour").values()) == 3


def test_a_report_is_kept_and_the_one_before_serves_while_a_new_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, made = report._Kept(), []

    def make() -> report.Report:
        made.append(1)
        return report.make(NOW)

    first = kept.get(make)
    assert kept.get(make) is first
    kept._until = 0
    with kept._turn:  # somebody else makes it
        assert kept.get(make) is first
    assert len(made) == 1
    assert kept.get(make) is not first


def test_bad_rows_are_refused() -> None:
    figures: dict[str, Any] = {
        "answered": 1, "failed": 0, "first_buckets": [], "first_counts": [],
        "whole_buckets": [], "whole_counts": [],
    }  # fmt: skip
    ModelHealth.objects.create(period="day", starts_at=MIDNIGHT, model=MODEL, **figures)
    twice = ModelHealth(period="day", starts_at=MIDNIGHT, model=MODEL, **figures)
    assert refused_by(lambda: twice.save(force_insert=True)) == "health_once"
    uneven = ModelHealth(period="day", starts_at=MIDNIGHT, model="other", **figures | {"whole_counts": [1]})
    assert refused_by(lambda: uneven.save(force_insert=True)) == "health_latency_in_pairs"
    second = HealthProgress(id=2, since=NOW, counted_until=NOW)
    assert refused_by(lambda: second.save(force_insert=True)) == "health_progress_one_row"
    backwards = HealthProgress(since=NOW, counted_until=NOW - timedelta(seconds=1))
    assert refused_by(lambda: backwards.save(force_insert=True)) == "health_progress_forwards"
