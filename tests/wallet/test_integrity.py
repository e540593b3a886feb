"""Each invariant is broken by hand, in a transaction that is rolled back, and has to be reported."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.factories import UserFactory, WalletFactory
from wallet import integrity
from wallet.credits import gifts
from wallet.integrity import CHECKS, WARNINGS, Finding
from wallet.ledger import budgets
from wallet.ledger.models import Budget, Hold, JournalEntry, Wallet
from wallet.payments import topups
from wallet.payments.gateways import sandbox
from wallet.payments.models import TopUp

(
    SUMS,
    POSTED,
    CHAIN,
    HELD,
    CAPTURED,
    BOUNDS,
    BUDGETS_HELD,
    BUDGETS_SPENT,
    TOPUPS,
    REFERENCES,
    INVOICES,
    NUMBERS,
    ADJUSTMENTS,
    PROMOS,
    CONSTRAINTS,
    TRIGGERS,
) = (invariant for invariant, _sql in CHECKS)


def sql(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.fixture
def wallet(db: None) -> Wallet:
    """A wallet with three entries, one of them a credited top-up, in a database without its guards."""
    wallet = WalletFactory.create(credit_micro=500)
    topups.start(user_id=wallet.pk, amount_micro=10**12, callback_url=lambda topup_id: "/")
    sandbox.decide(str(topup(wallet).authority), pays=True)
    topups.settle(topup_id=topup(wallet).pk)
    gifts.give(wallet_id=wallet.pk, amount_micro=7)
    assert not findings(wallet)
    connection.check_constraints()
    for table in ("journalentry", "invoice"):
        sql(f"ALTER TABLE wallet_{table} DISABLE TRIGGER USER")
    for table, name in (
        ("wallet", "wallet_held_not_negative"),
        ("wallet", "wallet_available_not_negative"),
        ("hold", "hold_not_negative"),
        ("budget", "budget_spent_not_negative"),
        ("budget", "budget_spent_since_not_negative"),
        ("topup", "topup_ref_id_once"),
    ):
        sql(f"ALTER TABLE wallet_{table} DROP CONSTRAINT {name}")
    return wallet


def topup(wallet: Wallet) -> TopUp:
    return TopUp.objects.get(user_id=wallet.pk)


def findings(wallet: Wallet) -> list[Finding]:
    """What is broken about this wallet; that of the guards, which the fixture takes away, aside."""
    own = (
        str(wallet.pk),
        *(str(pk) for pk in TopUp.objects.filter(user_id=wallet.pk).values_list("pk", flat=True)),
    )
    found = integrity.run(check for check in CHECKS if check[0] not in (CONSTRAINTS, TRIGGERS))
    values = {finding: [pair.partition("=")[2] for pair in finding.detail.split(", ")] for finding in found}
    return [finding for finding in found if set(values[finding]) & set(own)]


def broken(wallet: Wallet) -> set[str]:
    return {finding.invariant for finding in findings(wallet)}


def test_an_entry_without_its_other_leg_is_reported(wallet: Wallet) -> None:
    transaction_id = uuid4()
    sql(
        "INSERT INTO wallet_journalentry (transaction_id, kind, account, amount_micro, created_at)"
        " VALUES (%s, 'topup', 'gateway', -5, now())",
        transaction_id,
    )
    found = integrity.run(check for check in CHECKS if check[0] == SUMS)
    assert Finding(SUMS, f"transaction_id={transaction_id}, sum_micro=-5") in found


def test_a_posted_balance_that_the_journal_does_not_say_is_reported(wallet: Wallet) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(posted_micro=1)
    assert broken(wallet) == {POSTED}


def test_entries_of_a_wallet_that_is_gone_are_reported(wallet: Wallet) -> None:
    sql("ALTER TABLE wallet_journalentry DISABLE TRIGGER ALL")
    sql("ALTER TABLE wallet_wallet DISABLE TRIGGER ALL")
    sql("DELETE FROM wallet_wallet WHERE user_id = %s", wallet.pk)
    assert broken(wallet) == {POSTED}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_balance_that_does_not_follow_from_the_one_before_is_reported(wallet: Wallet, place: int) -> None:
    entry = JournalEntry.objects.filter(wallet=wallet).order_by("id")[place]
    sql("UPDATE wallet_journalentry SET balance_micro = balance_micro + 1 WHERE id = %s", entry.pk)
    assert broken(wallet) == {CHAIN}


def test_a_changed_amount_is_reported(wallet: Wallet) -> None:
    entry = JournalEntry.objects.filter(wallet=wallet).order_by("id")[0]
    sql("UPDATE wallet_journalentry SET amount_micro = amount_micro + 1 WHERE id = %s", entry.pk)
    assert broken(wallet) == {POSTED, CHAIN}


def test_a_held_amount_without_a_hold_is_reported(wallet: Wallet) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=5)
    assert broken(wallet) == {HELD}


def test_a_hold_that_the_wallet_does_not_know_of_is_reported(wallet: Wallet) -> None:
    place_hold(wallet, 5)
    assert broken(wallet) == {HELD}


def test_an_open_hold_whose_money_was_captured_is_reported(wallet: Wallet) -> None:
    booked = JournalEntry.objects.filter(wallet=wallet).order_by("id")[0]
    place_hold(wallet, 5)
    Hold.objects.filter(wallet=wallet).update(id=booked.transaction_id)
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=5)
    assert broken(wallet) == {CAPTURED}


def test_more_held_than_there_is_is_reported(wallet: Wallet) -> None:
    place_hold(wallet, 10**13)
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=10**13)
    assert broken(wallet) == {BOUNDS}


def test_a_negative_hold_is_reported(wallet: Wallet) -> None:
    place_hold(wallet, -5)
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=-5)
    assert broken(wallet) == {BOUNDS}


def test_a_budget_that_does_not_match_its_holds_is_reported(wallet: Wallet) -> None:
    mine = budgets.open_budget(wallet_id=wallet.pk, limit_micro=50)
    theirs = budgets.open_budget(wallet_id=WalletFactory.create().pk, limit_micro=50)
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=5)
    hold = Hold.objects.filter(pk=place_hold(wallet, 5))
    hold.update(budget_id=mine)
    assert broken(wallet) == {BUDGETS_HELD}
    Budget.objects.filter(pk=mine).update(held_micro=5)
    assert broken(wallet) == set()
    hold.update(budget_id=theirs)
    Budget.objects.filter(pk=mine).update(held_micro=0)
    assert broken(wallet) == {BUDGETS_HELD}
    hold.update(budget_id=2**40)
    assert broken(wallet) == {BUDGETS_HELD}


@pytest.mark.parametrize("spent_micro", [1, -1])
def test_budgets_that_spent_what_was_never_charged_are_reported(wallet: Wallet, spent_micro: int) -> None:
    budget = budgets.open_budget(wallet_id=wallet.pk, limit_micro=50)
    assert broken(wallet) == set()
    Budget.objects.filter(pk=budget).update(spent_micro=spent_micro)
    assert broken(wallet) == {BUDGETS_SPENT}


def place_hold(wallet: Wallet, amount_micro: int, *, expired: timedelta = timedelta(0)) -> str:
    now = timezone.now()
    hold = Hold.objects.create(
        id=uuid4(),
        wallet=wallet,
        amount_micro=amount_micro,
        created_at=now - timedelta(hours=1),
        expires_at=now - expired,
    )
    return str(hold.pk)


@pytest.mark.parametrize(
    "change",
    [
        {"amount_micro": 10**12 + 1},
        {"vat_micro": 0},
        {"status": "failed"},
        {"user_id": None},
        {"id": uuid4()},
    ],
)
def test_a_credited_top_up_that_the_journal_does_not_match_is_reported(
    wallet: Wallet, change: dict[str, Any]
) -> None:
    if "user_id" in change:
        change = {"user_id": UserFactory.create().pk}
    sql("ALTER TABLE wallet_topup DISABLE TRIGGER ALL")
    TopUp.objects.filter(user_id=wallet.pk).update(**change)
    assert broken(wallet) == {TOPUPS}


def test_a_credited_top_up_without_entry_is_reported(wallet: Wallet) -> None:
    TopUp.objects.create(
        user_id=wallet.pk,
        gateway="sandbox",
        amount_micro=5,
        status="credited",
        ref_id=uuid4().hex,
        credited_at=timezone.now(),
    )
    assert broken(wallet) == {TOPUPS}


def test_a_payment_credited_twice_is_reported(wallet: Wallet) -> None:
    reference = topup(wallet).ref_id
    TopUp.objects.create(
        user_id=wallet.pk, gateway="sandbox", amount_micro=5, status="review", ref_id=reference
    )
    assert any(
        finding.invariant == REFERENCES and str(reference) in finding.detail
        for finding in integrity.run(CHECKS)
    )


@pytest.mark.parametrize(
    "change",
    [
        "net_micro = net_micro + 1, total_micro = total_micro + 1",
        "vat_micro = 0, total_micro = net_micro",
        "vat_basis_points = 900",
    ],
)
def test_an_invoice_with_other_sums_than_the_journal_is_reported(wallet: Wallet, change: str) -> None:
    sql(f"UPDATE wallet_invoice SET {change} WHERE topup_id = %s", topup(wallet).pk)
    assert broken(wallet) == {INVOICES}


def test_a_credit_without_an_invoice_is_reported_and_so_is_the_gap(wallet: Wallet) -> None:
    sql("DELETE FROM wallet_invoice WHERE topup_id = %s", topup(wallet).pk)
    assert broken(wallet) == {INVOICES}
    assert NUMBERS in {finding.invariant for finding in integrity.run(CHECKS)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_invoice SET number = number + 1 WHERE number = (SELECT max(number) FROM wallet_invoice)",
        "UPDATE wallet_invoicecounter SET last_number = last_number + 1",
        "DELETE FROM wallet_invoicecounter",
    ],
)
def test_a_gap_in_the_numbers_is_reported(wallet: Wallet, statement: str) -> None:
    def is_reported() -> bool:
        return bool(integrity.run(check for check in CHECKS if check[0] == NUMBERS))

    assert not is_reported()
    sql(statement)
    assert is_reported()


def test_a_hold_that_outlives_its_expiry_is_warned_about(wallet: Wallet) -> None:
    late = place_hold(wallet, 5, expired=timedelta(minutes=6))
    fresh = place_hold(wallet, 5, expired=timedelta(minutes=4))
    details = " ".join(finding.detail for finding in integrity.run(WARNINGS))
    assert late in details
    assert fresh not in details


@pytest.fixture
def guards(db: None) -> None:
    assert not integrity.run(check for check in CHECKS if check[0] in (CONSTRAINTS, TRIGGERS))


@pytest.mark.parametrize(
    ("statement", "invariant", "name"),
    [
        ("ALTER TABLE wallet_hold DROP CONSTRAINT hold_not_negative", CONSTRAINTS, "hold_not_negative"),
        ("ALTER TABLE wallet_topup DROP CONSTRAINT topup_ref_id_once", CONSTRAINTS, "topup_ref_id_once"),
        (
            "ALTER TABLE wallet_topup DROP CONSTRAINT topup_amount_positive,"
            " ADD CONSTRAINT topup_amount_positive CHECK (amount_micro > 0) NOT VALID",
            CONSTRAINTS,
            "topup_amount_positive",
        ),
        ("DROP TRIGGER invoice_append_only ON wallet_invoice", TRIGGERS, "invoice_append_only"),
        ("DROP TRIGGER vat_rate_write_once ON wallet_vatrate", TRIGGERS, "vat_rate_write_once"),
        ("DROP TRIGGER journal_sums_to_zero ON wallet_journalentry", TRIGGERS, "journal_sums_to_zero"),
        (
            "ALTER TABLE wallet_journalentry DISABLE TRIGGER journal_append_only",
            TRIGGERS,
            "journal_append_only",
        ),
        (
            "ALTER TABLE wallet_journalentry ENABLE REPLICA TRIGGER journal_append_only",
            TRIGGERS,
            "journal_append_only",
        ),
    ],
)
def test_a_guard_that_was_taken_away_is_reported(
    guards: None, statement: str, invariant: str, name: str
) -> None:
    sql(statement)
    [found] = integrity.run(check for check in CHECKS if check[0] in (CONSTRAINTS, TRIGGERS))
    assert found.invariant == invariant
    assert f"name={name}" in found.detail


def test_a_long_list_is_cut_and_says_so(db: None) -> None:
    details = [
        finding.detail for finding in integrity.run([("few", "SELECT n FROM generate_series(1, 25) n")])
    ]
    assert details == [*(f"n={n}" for n in range(1, 21)), "… and more"]


def test_the_snapshot_is_one_moment_and_cannot_write(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=5)
    with integrity.snapshot():
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("repeatable read",)
        with pytest.raises(Exception, match="read-only"), transaction.atomic():
            Wallet.objects.filter(pk=wallet.pk).update(posted_micro=6)
    assert Wallet.objects.get(pk=wallet.pk).posted_micro == 5
