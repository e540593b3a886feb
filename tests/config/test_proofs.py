"""The nightly proof finds what does not add up, keeps what it found, and tells of it."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from prometheus_client import CollectorRegistry

from accounts.models import User
from config import proofs
from config.doctor import Level, work
from config.models import Proof
from config.tasks.figures import of_the_work
from proxy.usage import rollups
from proxy.usage.health import counting as health
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.models import EndUserRollup, UsageRecord, UsageRollup
from proxy.usage.sales import counting as sales
from proxy.usage.sales.models import CustomerSales, RouteSales, SalesProgress
from tests.admin_browser import admin_browser
from tests.factories import UserFactory, WalletFactory
from tests.proxy.factories import UsageRecordFactory
from wallet import integrity
from wallet.ledger.models import JournalEntry, Wallet

pytestmark = pytest.mark.django_db

# 20:30 UTC is midnight in Tehran.
MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)
DAY = timedelta(days=1)
NIGHT = MIDNIGHT + DAY + timedelta(hours=2)
CREDIT = 10_000_000


@pytest.fixture(autouse=True)
def nothing_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        integrity, "snapshot", nullcontext
    )  # a test that is rolled back is in a transaction already
    counted = (
        UsageRollup,
        EndUserRollup,
        ModelHealth,
        HealthProgress,
        RouteSales,
        CustomerSales,
        SalesProgress,
    )
    for model in (UsageRecord, *counted, Proof):
        model.objects.all().delete()


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr("accounts.admins.tell", lambda message, **values: found.append(message % values))
    return found


def use(at: datetime, wallet: Wallet, **fields: Any) -> UsageRecord:
    """A request with its entries in the journal, as a settlement writes them."""
    used: UsageRecord = UsageRecordFactory.create(
        created_at=at, user_id=wallet.pk, key_id=wallet.pk, end_user=b"a", end_user_hint="a", **fields
    )
    wallet.refresh_from_db()
    Wallet.objects.filter(pk=wallet.pk).update(posted_micro=wallet.posted_micro - used.cost_micro)
    booked = {"transaction_id": used.id, "kind": "completion", "created_at": at}
    JournalEntry.objects.bulk_create(
        [
            JournalEntry(
                account="wallet", wallet=wallet, amount_micro=-used.cost_micro,
                balance_micro=wallet.posted_micro - used.cost_micro, **booked,
            ),
            JournalEntry(account="revenue", amount_micro=used.cost_micro, **booked),
        ]
    )  # fmt: skip
    return used


@pytest.fixture
def wallet() -> Wallet:
    found: Wallet = WalletFactory.create(credit_micro=CREDIT)
    for hours in (0, 1, 1, 7, 23):
        use(MIDNIGHT + timedelta(hours=hours, minutes=hours), found, upstream_cost_micro=7)
    return found


def proved() -> Proof:
    [proof] = proofs.prove_due(now=NIGHT)
    return proof


def test_a_day_that_adds_up_is_proved_with_its_sums(wallet: Wallet, told: list[str]) -> None:
    proof = proved()
    cost = sum(UsageRecord.objects.values_list("cost_micro", flat=True))
    assert (proof.since, proof.until, proof.said, proof.faults) == (MIDNIGHT, MIDNIGHT + DAY, "", 0)
    assert (proof.records, proof.cost_micro, proof.booked_micro) == (5, cost, cost)
    assert proof.upstream_cost_micro == 35
    assert told == []


def test_a_day_is_proved_once_it_is_over_and_none_is_left_out(wallet: Wallet) -> None:
    assert proofs.due(now=MIDNIGHT + DAY + timedelta(minutes=59)) == MIDNIGHT - DAY
    proved()
    assert proofs.prove_due(now=NIGHT) == []
    made = proofs.prove_due(now=NIGHT + 3 * DAY)
    assert [proof.since for proof in made] == [MIDNIGHT + DAY * days for days in (1, 2, 3)]
    assert not any(proof.faults for proof in made)


def test_proved_twice_a_day_has_one_proof(wallet: Wallet) -> None:
    first = proved()
    again = proofs.prove(since=MIDNIGHT, until=MIDNIGHT + DAY)
    assert again.pk == first.pk
    assert Proof.objects.count() == 1


def sql(statement: str) -> Callable[[], None]:
    def change() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return change


def unbooked() -> None:
    wallet = WalletFactory.create()
    UsageRecordFactory.create(created_at=MIDNIGHT + timedelta(hours=2), user_id=wallet.pk)


def without_record() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    used = use(MIDNIGHT + timedelta(hours=2), wallet)
    UsageRecord.objects.filter(pk=used.pk).delete()


def one_leg() -> None:
    book_alone(WalletFactory.create(credit_micro=CREDIT), balance_micro=CREDIT + 5)


def book_alone(wallet: Wallet, *, balance_micro: int) -> None:
    """One leg of two, which the database refuses as long as its trigger is there."""
    sql(
        "SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE wallet_journalentry DISABLE TRIGGER journal_sums_to_zero"
    )()
    JournalEntry.objects.create(
        transaction_id=UsageRecordFactory.build().id, kind="gift", account="wallet", wallet=wallet, amount_micro=5,
        balance_micro=balance_micro, created_at=MIDNIGHT + timedelta(hours=2),
    )  # fmt: skip


def broken_chain() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    Wallet.objects.filter(pk=wallet.pk).update(posted_micro=CREDIT - 1)
    use(MIDNIGHT + timedelta(hours=2), wallet)


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (unbooked, "every charged usage record is in the journal"),
        (unbooked, "the journal has booked what the usage records cost"),
        (without_record, "every completion in the journal has its usage record"),
        (one_leg, "every journal transaction sums to zero"),
        (broken_chain, "each entry's balance is the balance before it"),
        (sql("UPDATE proxy_rollup SET requests = requests + 1 WHERE period = 'hour'"), "the hour's roll-ups"),
        (sql("DELETE FROM proxy_rollup WHERE period = 'hour'"), "the hour's roll-ups"),
        (sql("UPDATE proxy_rollup SET cost_micro = 0 WHERE period = 'day'"), "the day's roll-ups are"),
        (sql("UPDATE proxy_enduserrollup SET cost_micro = 0"), "the day's roll-ups by end user"),
        (sql("UPDATE proxy_modelhealth SET failed = 1 WHERE period = 'hour'"), "the hour's count of good"),
        (sql("UPDATE proxy_routesales SET cost_micro = 0 WHERE period = 'day'"), "sales by model and upstream"),
        (sql("DELETE FROM proxy_routesales WHERE period = 'day'"), "sales by model and upstream"),
        (sql("UPDATE proxy_customersales SET billed_micro = billed_micro + 1"), "sales by customer"),
        (sql("UPDATE proxy_usagerecord SET upstream_cost_nanodollars = 1"), "what an upstream charges"),
        (sql("UPDATE wallet_wallet SET posted_micro = posted_micro + 1"), "a wallet's posted balance"),
    ],
)  # fmt: skip
def test_each_thing_that_does_not_add_up_is_found_and_told(
    wallet: Wallet,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[], None],
    rule: str,
) -> None:
    use(MIDNIGHT + DAY + timedelta(hours=1), wallet)  # so that days by end user are whole
    rollups.roll_up()
    health.count()
    sales.count()
    monkeypatch.setattr(proofs, "_counted", lambda until: True)
    fault()
    with caplog.at_level(logging.ERROR):
        proof = proved()
    assert rule in proof.said
    assert proof.faults
    assert "books do not add up" in caplog.text
    assert len(told) == 1
    assert doctor_says(Level.PROBLEM)


def doctor_says(level: Level) -> bool:
    return any(found == level for found, _said, _advice in work.proof())


def test_a_wallet_that_a_proof_names_is_frozen(wallet: Wallet) -> None:
    book_alone(wallet, balance_micro=1)
    assert proved().faults
    wallet.refresh_from_db()
    assert wallet.frozen_at is not None


@pytest.mark.parametrize("counting", [health, sales])
def test_nothing_is_proved_while_usage_is_still_summed(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch, counting: Any
) -> None:
    counting.count(now=MIDNIGHT + timedelta(hours=2))
    monkeypatch.setattr(counting, "count", lambda: None)
    assert proofs.prove_due(now=NIGHT) == []
    assert not Proof.objects.exists()


def test_a_clock_that_jumps_is_no_fault(wallet: Wallet) -> None:
    for at in (timedelta(hours=5), timedelta(hours=20), timedelta(hours=5, minutes=1), timedelta(hours=4)):
        use(MIDNIGHT + at, wallet)
    assert proved().said == ""


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("proof_of_some_time", {"until": MIDNIGHT}),
        ("proof_says_its_faults", {"faults": 1}),
        ("proof_says_its_faults", {"said": "x"}),
    ],
)
def test_the_database_refuses_a_proof_that_contradicts_itself(
    wallet: Wallet, constraint: str, fields: dict[str, Any]
) -> None:
    proof = proved()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Proof.objects.filter(pk=proof.pk).update(**fields)


def figures() -> CollectorRegistry:
    class Work:
        collect = staticmethod(of_the_work)

    registry = CollectorRegistry()
    registry.register(Work())
    return registry


def test_admin_doctor_and_metrics_say_what_was_proved(wallet: Wallet) -> None:
    assert doctor_says(Level.OK)
    assert figures().get_sample_value("hamiran_proof_age_seconds") == float("inf")
    proof = proved()
    finance: User = UserFactory.create(is_staff=True)
    finance.user_permissions.add(*_permission("view_proof"))
    browser = admin_browser(finance)
    page = browser.get("/admin/config/proof/").content.decode()
    assert "21 Nov 2026" in page
    assert browser.get(f"/admin/config/proof/{proof.pk}/change/").status_code == 200
    assert figures().get_sample_value("hamiran_proof_faults") == 0
    assert doctor_says(Level.PROBLEM)  # that was days ago
    Proof.objects.update(faults=2, said="x")
    assert figures().get_sample_value("hamiran_proof_faults") == 2


def _permission(codename: str) -> Any:
    from django.contrib.auth.models import Permission

    return Permission.objects.filter(codename=codename)
