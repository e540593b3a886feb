"""Sales equal the records and the ledger, whenever and however often they are counted."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Sum

from proxy import tasks
from proxy.catalogue.prices.models import ExchangeRate
from proxy.usage import progress
from proxy.usage.models import UsageRecord
from proxy.usage.sales import counting
from proxy.usage.sales.models import CustomerSales, RouteSales, SalesProgress
from tests.proxy.factories import UsageRecordFactory
from tests.wallet.test_database_rules import refused_by

pytestmark = pytest.mark.django_db
Outcome, BilledBy = UsageRecord.Outcome, UsageRecord.BilledBy
MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran
NOW = MIDNIGHT + timedelta(hours=15, minutes=42)
RATES = ((MIDNIGHT - timedelta(days=3), 1_000_003), (MIDNIGHT + timedelta(hours=2, minutes=1), 1_100_007))
SUMS = counting.SUMS.split(", ")


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_PER_RUN", 600)  # on a busy machine, too
    for model in (UsageRecord, RouteSales, CustomerSales, SalesProgress, ExchangeRate):
        model.objects.all().delete()
    for valid_from, rial in RATES:
        ExchangeRate.objects.create(valid_from=valid_from, rial_per_dollar=rial)


def record(at: datetime, **fields: Any) -> UsageRecord:
    made: UsageRecord = UsageRecordFactory.create(created_at=at, **fields)
    return made


def random_records(count: int, *, since: datetime, until: datetime, seed: int = 5) -> list[UsageRecord]:
    chance, made = random.Random(seed), []
    for _ in range(count):
        outcome = chance.choice([Outcome.COMPLETED] * 5 + list(Outcome))
        is_billed = outcome == Outcome.COMPLETED or chance.random() < 0.3
        fields: dict[str, Any] = {
            "user_id": chance.randint(1, 4),
            "model": chance.choice("ab"),
            "upstream_id": chance.randint(1, 2),
            "outcome": outcome,
            "prompt_tokens": chance.randint(0, 5_000),
        }
        if not is_billed:
            fields |= {"billed_by": BilledBy.NOTHING, "cost_micro": 0}
        match chance.randrange(4):
            case 0:
                fields["upstream_cost_micro"] = chance.randint(0, 10**7)
            case 1 | 2:
                fields["upstream_cost_nanodollars"] = chance.randint(0, 10**6)
        made.append(record(since + chance.random() * (until - since), **fields))
    return made


def cost_of(used: UsageRecord) -> int | None:
    """In micro-Rial, by the rate that held; in Python, one by one."""
    if used.upstream_cost_micro is not None:
        return used.upstream_cost_micro
    rates = [rial for valid_from, rial in RATES if valid_from <= used.created_at]
    if used.upstream_cost_nanodollars is None or not rates:
        return None
    return -(-used.upstream_cost_nanodollars * rates[-1] // 1_000)


def start_of(used: UsageRecord, period: str) -> datetime:
    """Tehran has been three and a half hours ahead of UTC all year since 2022."""
    local = used.created_at + timedelta(hours=3, minutes=30)
    local = local.replace(minute=0, second=0, microsecond=0)
    return (local.replace(hour=0) if period == "day" else local) - timedelta(hours=3, minutes=30)


def expected(period: str, group: Callable[[UsageRecord], tuple[Any, ...]]) -> dict[Any, Counter[str]]:
    sums: dict[Any, Counter[str]] = {}
    for used in UsageRecord.objects.all():
        cost, is_billed = cost_of(used), used.billed_by != BilledBy.NOTHING
        counted = sums.setdefault((start_of(used, period), *group(used)), Counter())
        counted["requests"] += 1
        if used.outcome != Outcome.COMPLETED:
            counted[str(used.outcome)] += 1
        counted["billed_requests"] += is_billed
        counted["billed_micro"] += used.cost_micro
        if cost is not None:
            counted["cost_micro"] += cost
            if is_billed:
                counted["costed_requests"] += 1
                counted["costed_micro"] += used.cost_micro
    return sums


def by_route(used: UsageRecord | RouteSales) -> tuple[Any, ...]:
    return used.model, used.upstream_id


def by_customer(used: UsageRecord | CustomerSales) -> tuple[Any, ...]:
    return (used.user_id,)


def counted(table: type[RouteSales | CustomerSales], period: str) -> dict[Any, Counter[str]]:
    rows: Iterator[Any] = table.objects.filter(period=period).iterator()
    group: Any = by_route if table is RouteSales else by_customer
    return {
        (row.starts_at, *group(row)): Counter({name: getattr(row, name) for name in SUMS}) for row in rows
    }


def assert_counted() -> None:
    for period in ("hour", "day"):
        assert counted(RouteSales, period) == expected(period, by_route)
        assert counted(CustomerSales, period) == expected(period, by_customer)


def everything() -> list[dict[Any, Counter[str]]]:
    return [counted(table, period) for table in (RouteSales, CustomerSales) for period in ("hour", "day")]


def test_sales_equal_the_records_however_they_end_and_whatever_is_known_of_their_cost() -> None:
    random_records(300, since=MIDNIGHT - timedelta(hours=30), until=NOW)
    counting.count(now=NOW)
    assert_counted()


def test_they_are_the_same_counted_piece_by_piece_at_once_or_from_the_records() -> None:
    first = MIDNIGHT - timedelta(hours=26)
    random_records(200, since=first, until=NOW, seed=7)
    moment = first
    while moment < NOW:
        moment = min(moment + timedelta(minutes=random.Random(str(moment)).choice([1, 4, 61, 190])), NOW)
        counting.count(now=moment)
        counting.count(now=moment)
    piecemeal = everything()
    assert_counted()
    counting.rebuild(since=first)
    assert everything() == piecemeal
    for model in (RouteSales, CustomerSales, SalesProgress):
        model.objects.all().delete()
    counting.count(now=NOW)
    assert everything() == piecemeal


def test_counting_again_writes_nothing() -> None:
    random_records(50, since=NOW - timedelta(hours=3), until=NOW)
    counting.count(now=NOW)
    query = (
        "SELECT id, xmin::text FROM proxy_routesales UNION ALL SELECT id, xmin::text FROM proxy_customersales"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        before = sorted(cursor.fetchall())
        counting.count(now=NOW)
        cursor.execute(query)
        assert sorted(cursor.fetchall()) == before


def test_a_record_that_commits_late_is_counted_by_the_next_run() -> None:
    record(NOW - timedelta(minutes=30))
    counting.count(now=NOW)
    record(NOW - timedelta(minutes=4, seconds=59), user_id=9)
    counting.count(now=NOW + timedelta(seconds=60))
    assert_counted()


def test_a_clock_that_was_set_back_loses_nothing() -> None:
    record(NOW + timedelta(hours=2))  # while it was wrong
    counting.count(now=NOW + timedelta(hours=2, minutes=1))
    record(NOW + timedelta(minutes=1))
    counting.count(now=NOW + timedelta(minutes=2))
    record(NOW + timedelta(minutes=90))
    counting.count(now=NOW + timedelta(hours=3))
    assert_counted()


def test_a_request_whose_cost_is_not_known_counts_as_billed_and_not_as_free() -> None:
    record(NOW - timedelta(minutes=30))
    record(NOW - timedelta(minutes=30), upstream_cost_micro=0)
    record(RATES[0][0] - timedelta(hours=1), upstream_cost_nanodollars=5)  # no rate held yet
    counting.count(now=NOW)
    sums = RouteSales.objects.filter(period="day").aggregate(
        billed=Sum("billed_requests"), costed=Sum("costed_requests"), cost=Sum("cost_micro")
    )
    assert sums == {"billed": 3, "costed": 1, "cost": 0}


def test_a_cost_beyond_what_a_product_of_bigints_holds_is_counted() -> None:
    record(NOW - timedelta(minutes=30), upstream_cost_nanodollars=9 * 10**12)
    counting.count(now=NOW)
    assert_counted()


def test_days_whose_records_are_gone_stay_as_they_are() -> None:
    for days in range(3):
        record(MIDNIGHT + timedelta(days=days, hours=1))
        record(MIDNIGHT + timedelta(days=days, hours=9))
    counting.count(now=MIDNIGHT + timedelta(days=3))
    before = everything()
    # As retention does: in the midst of the second day.
    UsageRecord.objects.filter(created_at__lt=MIDNIGHT + timedelta(days=1, hours=5)).delete()
    counting.rebuild(since=MIDNIGHT)
    assert everything() == before


def test_what_is_written_into_the_past_is_counted_by_a_rebuild() -> None:
    record(NOW - timedelta(minutes=30))
    counting.count(now=NOW)
    random_records(40, since=MIDNIGHT - timedelta(days=4), until=NOW)
    counting.rebuild(since=MIDNIGHT - timedelta(days=4))
    assert_counted()
    record(NOW + timedelta(seconds=10))
    counting.count(now=NOW + timedelta(minutes=1))
    assert_counted()


def test_the_command_counts_anew_from_a_day_by_either_calendar(capsys: pytest.CaptureFixture[str]) -> None:
    record(NOW - timedelta(minutes=30))
    counting.count(now=NOW)
    UsageRecord.objects.update(user_id=77)
    call_command("rebuild_sales", "--since", "1405/08/29", "--json")  # the day before
    assert json.loads(capsys.readouterr().out) == {"days": 1}
    assert_counted()
    with pytest.raises(CommandError, match="since has to be a day"):
        call_command("rebuild_sales", "--since", "yesterday")


def test_a_run_that_has_no_time_left_is_gone_on_with_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    random_records(30, since=NOW - timedelta(hours=20), until=NOW)
    monkeypatch.setattr(progress, "SECONDS_PER_RUN", 0)
    reached = []
    for _ in range(4):
        counting.count(now=NOW)
        reached.append(SalesProgress.objects.get().counted_until)
    assert reached[1] - reached[0] == reached[2] - reached[1] == progress.CHUNK
    assert reached[3] == NOW
    assert_counted()


def test_slots_and_hours_are_forgotten_and_days_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "CHUNK", timedelta(days=100))
    record(NOW - timedelta(days=50))
    record(NOW - timedelta(days=3))
    counting.count(now=NOW)
    assert [len(counted(RouteSales, period)) for period in ("slot", "hour", "day")] == [0, 1, 2]


def test_the_task_counts_by_the_clock_of_the_database() -> None:
    UsageRecordFactory.create_batch(3)
    tasks.count_sales()
    assert RouteSales.objects.filter(period="day").aggregate(requests=Sum("requests")) == {"requests": 3}


def test_nothing_is_counted_of_nothing() -> None:
    counting.count(now=NOW)
    counting.rebuild(since=MIDNIGHT)
    assert everything() == [{}, {}, {}, {}]
    assert SalesProgress.objects.get().counted_until == NOW


@pytest.mark.parametrize("table", [RouteSales, CustomerSales])
def test_bad_rows_are_refused(table: type[RouteSales | CustomerSales]) -> None:
    record(NOW - timedelta(minutes=30), upstream_cost_micro=7)
    counting.count(now=NOW)
    name, day = table._meta.model_name, table.objects.filter(period="day")
    again: Any = day.get()
    again.pk = None
    assert refused_by(lambda: again.save(force_insert=True)) == f"{name}_once"
    for fields in ({"costed_requests": 2}, {"costed_micro": 10**9}):
        assert refused_by(partial(day.update, **fields)) == f"{name}_cost_of_what_was_billed"
    for fields in ({"refused": 2}, {"billed_requests": 2}):
        assert refused_by(partial(day.update, **fields)) == f"{name}_parts_within_requests"


def test_progress_is_one_row_and_goes_forwards() -> None:
    second = SalesProgress(id=2, since=NOW, counted_until=NOW)
    assert refused_by(lambda: second.save(force_insert=True)) == "sales_progress_one_row"
    backwards = SalesProgress(since=NOW, counted_until=NOW - timedelta(seconds=1))
    assert refused_by(lambda: backwards.save(force_insert=True)) == "sales_progress_forwards"
