"""Usage records lie in months that are made ahead; none is lost where one is missing, and old ones go when told."""

import csv
import json
import logging
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from config.doctor import Level, business
from proxy import explaining
from proxy.api import metrics
from proxy.tasks import keep_usage_partitions
from proxy.usage import integrity as usage_integrity
from proxy.usage import log as usage_log
from proxy.usage import lookup, partitions, retention, rollups
from proxy.usage.models import UsageRecord, UsageRollup
from proxy.usage.partitions import DEFAULT, TABLE
from tests.factories import UserFactory, WalletFactory
from tests.proxy.factories import UsageRecordFactory
from wallet import integrity

TEHRAN = ZoneInfo("Asia/Tehran")
NOW = timezone.now()
FAR = datetime(2040, 5, 20, 12, tzinfo=TEHRAN)


pytestmark = pytest.mark.django_db
BOOK = """
INSERT INTO wallet_journalentry (transaction_id, kind, account, wallet_id, amount_micro, balance_micro, created_at)
VALUES (%(id)s, 'completion', 'wallet', %(user)s, -%(cost)s, 0, %(at)s),
    (%(id)s, 'completion', 'revenue', NULL, %(cost)s, NULL, %(at)s)
"""


@pytest.fixture(autouse=True)
def nothing_was_used(db: None) -> None:
    for model in (UsageRecord, UsageRollup):
        model.objects.all().delete()


def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def lies_in(record: UsageRecord) -> str:
    [[name]] = ask(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE id = %s", record.pk)
    return str(name)


def command(*words: str) -> dict[str, Any]:
    out = StringIO()
    call_command("usage_partitions", *words, "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def months_from(past: int) -> list[str]:
    """Months of their own from so many before the present one on, which a new database has in one."""
    first = partitions.attached()[0]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {first.name}")
    partitions.make_ahead(month(-past))
    partitions.make_ahead(NOW)
    return [each.name for each in partitions.attached()]


def month(later: int = 0) -> datetime:
    """The first moment of the month that is so many later than the present one."""
    return partitions.month_of(NOW, months=later).since


def charged(at: datetime) -> UsageRecord:
    """A record that the journal has too, of the same time, as a settlement writes both."""
    record: UsageRecord = UsageRecordFactory.create(user_id=WalletFactory.create().pk, created_at=at)
    with connection.cursor() as cursor:
        cursor.execute(BOOK, {"id": record.pk, "user": record.user_id, "cost": record.cost_micro, "at": at})
    return record


def broken() -> set[str]:
    """What is wrong with records; the rows of other tests may break other rules."""
    found = {finding.invariant for finding in integrity.run(usage_integrity.CHECKS)}
    return {invariant for invariant in found if "usage record" in invariant}


def test_a_migrated_database_has_months_without_a_gap() -> None:
    assert partitions.made_until(NOW) == partitions.month_of(NOW, months=partitions.MONTHS_AHEAD).until
    assert partitions.kept_since() is None


def test_months_are_those_of_the_clocks_that_people_read() -> None:
    assert month().astimezone(TEHRAN).day == 1
    assert month().astimezone(TEHRAN).hour == 0
    record = UsageRecordFactory.create(created_at=month(3))
    assert lies_in(record) == f"{TABLE}_{month(3).astimezone(TEHRAN):%Y_%m}"
    before = UsageRecordFactory.create(created_at=month(3) - timedelta(microseconds=1))
    assert lies_in(before) == f"{TABLE}_{month(2).astimezone(TEHRAN):%Y_%m}"


def test_each_month_has_the_rules_and_indexes_of_the_table() -> None:
    name = partitions.attached()[-1].name
    [[primary]] = ask("SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisprimary", name)
    [[own]] = ask(
        "SELECT count(*) FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid"
        " WHERE x.indrelid = %s::regclass", name,
    )  # fmt: skip
    wanted = {rule.name for rule in (*UsageRecord._meta.constraints, *UsageRecord._meta.indexes)}
    assert primary == 1
    assert own == len(UsageRecord._meta.indexes)
    rules = {rule for (rule,) in ask("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass", name)}
    named = {each for (each,) in ask("SELECT indexname FROM pg_indexes WHERE tablename = %s", TABLE)}
    assert wanted <= rules | named
    assert "fits" not in rules


def test_an_id_has_one_record() -> None:
    record = UsageRecordFactory.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageRecordFactory.create(id=record.pk)


def test_a_second_record_of_a_charged_request_in_another_month_is_found() -> None:
    record = charged(NOW)
    assert not broken()
    UsageRecordFactory.create(id=record.pk, user_id=record.user_id, created_at=month(2))
    assert broken() == {"there are as many charged usage records as completions in the journal: none has two"}


def test_what_no_month_takes_is_in_the_default_and_an_alarm_goes_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = charged(FAR)
    assert lies_in(record) == DEFAULT
    assert not broken()
    [[told]] = ask(metrics.STATE["hamiran_usage_records_in_default"][1])
    assert told == 1
    [(level, said, _advice)] = business.usage()
    assert (level, said) == (Level.PROBLEM, "1 usage records are in no month")
    keep_usage_partitions()
    [line] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert line.__dict__["records"] == 1


def test_records_move_out_of_the_default_into_months_of_their_own() -> None:
    records = [
        UsageRecordFactory.create(created_at=at)
        for at in (FAR, FAR + timedelta(days=1), FAR + timedelta(days=40), FAR - timedelta(days=4000))
    ]
    records += [UsageRecordFactory.create(created_at=month(each)) for each in (0, 5)]
    answer = command("move")
    assert answer["moved"] == {f"{TABLE}_2029_06": 1, f"{TABLE}_2040_05": 2, f"{TABLE}_2040_06": 1}
    assert answer["in_default"] == 0
    assert {lies_in(record) for record in records[:4]} == set(answer["moved"])
    assert set(UsageRecord.objects.values_list("pk", flat=True)) == {record.pk for record in records}
    assert command("move")["moved"] == {}
    [(level, _said, _advice)] = business.usage()
    assert level is Level.OK


def test_a_month_whose_records_are_in_the_default_waits_for_them_to_be_moved() -> None:
    last = partitions.attached()[-1]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {last.name}")
    assert last.since is not None
    record = UsageRecordFactory.create(created_at=last.since)
    assert partitions.make_ahead() == []
    assert command("move")["moved"] == {last.name: 1}
    assert lies_in(record) == last.name


def test_a_month_that_is_missing_is_made() -> None:
    _first, *others = partitions.attached()
    lost = others[2]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {lost.name}")
    assert partitions.made_until(NOW) == lost.since
    assert partitions.make_ahead() == [lost.name]
    assert partitions.make_ahead() == []


def test_few_months_ahead_are_told() -> None:
    for each in partitions.attached()[2:]:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {each.name}")
    [[ahead]] = ask(partitions.AHEAD)
    assert ahead <= 1
    [(level, _said, _advice)] = business.usage()
    assert level is (Level.WARNING if partitions.made_until(NOW) < NOW + timedelta(days=32) else Level.OK)


def test_what_is_past_its_time_is_detached_and_stays_in_the_roll_ups(settings: Any) -> None:
    settings.USAGE_RETENTION_MONTHS = 2
    months_from(5)
    old, kept, new = (
        charged(at) for at in (month(-4) + timedelta(days=3), month(-2), NOW - timedelta(hours=2))
    )
    rollups.roll_up()
    summed = list(UsageRollup.objects.order_by("pk").values())
    names = command("detach")["taken_off"]
    assert names == [f"{TABLE}_{month(-each).astimezone(TEHRAN):%Y_%m}" for each in (5, 4, 3)]
    assert set(UsageRecord.objects.all()) == {kept, new}
    assert partitions.kept_since() == month(-2)
    rollups.roll_up(since=month(-5))
    assert list(UsageRollup.objects.order_by("pk").values()) == summed
    assert old.pk not in set(UsageRecord.objects.values_list("pk", flat=True))
    assert retention.detach_past() == []


def test_the_books_are_sound_without_detached_records(settings: Any) -> None:
    settings.USAGE_RETENTION_MONTHS = 1
    months_from(4)
    old = charged(month(-3))
    charged(NOW - timedelta(hours=2))
    rollups.roll_up()
    retention.detach_past()
    assert not broken()
    assert explaining.explain(request_id=old.pk).state is explaining.State.ARCHIVED


def test_nothing_is_detached_that_is_not_summed_or_without_being_told(settings: Any) -> None:
    months_from(5)
    UsageRecordFactory.create(created_at=month(-4))
    settings.USAGE_RETENTION_MONTHS = 1
    assert retention.detach_past() == []
    rollups.roll_up()
    assert retention.detach_past() == []  # the last hour that is summed is of that month
    UsageRecordFactory.create(created_at=NOW - timedelta(hours=2))
    rollups.roll_up()
    settings.USAGE_RETENTION_MONTHS = 0
    assert retention.detach_past() == []
    settings.USAGE_RETENTION_MONTHS = 1
    assert len(retention.detach_past()) == 4


@pytest.fixture
def gone(settings: Any) -> tuple[str, UsageRecord]:
    """A table that was detached, and the record that it holds."""
    settings.USAGE_RETENTION_MONTHS = 1
    months_from(2)
    record = UsageRecordFactory.create(created_at=month(-2), client_request_id='so-called, "id"')
    UsageRecordFactory.create(created_at=NOW - timedelta(hours=2))
    rollups.roll_up()
    [name] = retention.detach_past()
    return name, record


def test_a_detached_month_is_exported_and_dropped(gone: tuple[str, UsageRecord], tmp_path: Path) -> None:
    name, record = gone
    assert [each["name"] for each in command()["detached"]] == [name]
    answer = command("drop", name, "--into", str(tmp_path / "out.csv"))
    assert answer["exported"] == {"file": str(tmp_path / "out.csv"), "records": 1}
    assert answer["detached"] == []
    [row] = csv.DictReader(StringIO((tmp_path / "out.csv").read_text()))
    assert row["id"] == str(record.pk)
    assert row["client_request_id"] == record.client_request_id
    with connection.cursor() as cursor, cursor.copy(f"COPY {TABLE} FROM STDIN (FORMAT csv, HEADER)") as rows:
        rows.write((tmp_path / "out.csv").read_bytes())
    assert UsageRecord.objects.get(pk=record.pk) == record


def test_a_month_is_dropped_only_as_it_was_said(gone: tuple[str, UsageRecord], tmp_path: Path) -> None:
    name, _record = gone
    (tmp_path / "there.csv").touch()
    for words in (
        ("drop", name),
        ("drop", name, "--without-export", "--into", str(tmp_path / "a.csv")),
        ("drop", name, "--into", str(tmp_path / "there.csv")),
        ("drop", partitions.attached()[0].name, "--without-export"),
        ("drop", "wallet_journalentry", "--without-export"),
        ("drop", "--without-export"),
        ("export", name),
        ("make", name),
    ):
        with pytest.raises(CommandError):
            command(*words)
    with pytest.raises(retention.NotWhole), transaction.atomic():
        retention.drop(name=name, exported=0)
    assert [each["name"] for each in command()["detached"]] == [name]
    assert command("drop", name, "--without-export")["detached"] == []


def test_a_record_is_found_by_its_id_whatever_clock_made_it() -> None:
    user = UserFactory.create()
    for at, made in ((NOW, NOW), (month(-3), NOW), (NOW, FAR), (NOW, datetime(1971, 1, 1, tzinfo=TEHRAN))):
        milliseconds = int(made.timestamp() * 1000)
        request_id = uuid.UUID(
            int=(milliseconds << 80) | (7 << 76) | (2 << 62) | uuid.uuid4().int & (1 << 62) - 1
        )
        record = UsageRecordFactory.create(id=request_id, user_id=user.pk, created_at=at)
        assert lookup.find(request_id) == record
        assert usage_log.one(user_id=user.pk, request_id=request_id).record == record
    other = UsageRecordFactory.create()
    assert lookup.find(other.pk) == other
    assert lookup.find(other.pk, user_id=user.pk) is None
    for unknown in (
        uuid.UUID(int=0),
        uuid.UUID(int=(1 << 128) - 1),
        uuid.UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"),
    ):
        assert lookup.find(unknown) is None


def test_a_request_of_today_is_sought_in_few_partitions() -> None:
    months_from(24)
    since, until = next(
        lookup.spans([uuid.UUID(int=(int(NOW.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))])
    )
    query = UsageRecord.objects.filter(pk=uuid.UUID(int=0), created_at__range=(since, until))
    assert query.explain().count("Scan on") <= 3


@pytest.fixture
def somebody_reads() -> Iterator[None]:
    settings = connection.settings_dict
    with psycopg.connect(host=settings["HOST"], user=settings["USER"], dbname=settings["NAME"]) as session:
        session.execute(f"SELECT count(*) FROM {TABLE}")
        yield


def test_while_somebody_reads_nothing_is_changed(somebody_reads: None) -> None:
    before = partitions.attached()
    with pytest.raises(partitions.Busy):
        partitions.make_ahead(FAR)
    with pytest.raises(CommandError, match="Nothing was changed"):
        command("move")
    assert partitions.attached() == before


def test_the_newest_requests_are_found_however_old_and_summed_or_not() -> None:
    months_from(6)
    user = UserFactory.create()
    times = [month(-5), month(-5) + timedelta(days=9), month(-3)]
    old = [UsageRecordFactory.create(user_id=user.pk, created_at=at) for at in times]

    def newest(size: int = 8) -> list[UsageRecord]:
        return [each.record for each in usage_log.newest(user_id=user.pk, size=size)]

    assert newest() == old[::-1]
    UsageRecordFactory.create(created_at=NOW - timedelta(hours=3))
    rollups.roll_up()
    assert newest() == old[::-1]
    assert newest(2) == [old[2], old[1]]
    today = UsageRecordFactory.create(user_id=user.pk, created_at=NOW)
    assert newest() == [today, *old[::-1]]
