"""Every rule about money that PostgreSQL itself keeps: it refuses the bad row, and names the rule."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tests.factories import UserFactory, WalletFactory
from wallet.ledger.models import Hold, JournalEntry, Wallet
from wallet.payments.models import GatewayChoice, SandboxPayment, TopUp

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def refused_by(write: Callable[[], Any]) -> str | None:
    """The name of the rule that refuses a write."""
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        write()
    cause = refusal.value.__cause__
    assert isinstance(cause, psycopg.Error)
    return cause.diag.constraint_name


def sql(statement: str, *parameters: Any) -> Callable[[], None]:
    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    return write


def entry(**changes: Any) -> JournalEntry:
    fields = {
        "transaction_id": uuid4(),
        "kind": "topup",
        "account": "gateway",
        "amount_micro": 1,
        "created_at": NOW,
    }
    return JournalEntry(**{**fields, **changes})


def topup(**changes: Any) -> TopUp:
    return TopUp(**{"user": UserFactory.create(), "gateway": "sandbox", "amount_micro": 1, **changes})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"held_micro": -1}, "wallet_held_not_negative"),
        ({"held_micro": 6}, "wallet_available_not_negative"),
        ({"posted_micro": -1}, "wallet_available_not_negative"),
    ],
)
def test_a_wallet_never_goes_below_zero(change: dict[str, int], rule: str) -> None:
    wallet = WalletFactory.create(credit_micro=5)
    assert refused_by(lambda: Wallet.objects.filter(pk=wallet.pk).update(**change)) == rule


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"amount_micro": -1}, "hold_not_negative"),
        ({"expires_at": NOW}, "hold_expires_later"),
        ({"budget_id": 1, "shared_budget_id": 1}, "hold_counts_once"),
    ],
)
def test_a_bad_hold_is_refused(change: dict[str, Any], rule: str) -> None:
    fields = {"id": uuid4(), "amount_micro": 1, "created_at": NOW, "expires_at": NOW + timedelta(minutes=1)}
    hold = Hold(wallet=WalletFactory.create(), **{**fields, **change})
    assert refused_by(lambda: hold.save(force_insert=True)) == rule


def test_a_journal_transaction_that_does_not_sum_to_zero_is_refused() -> None:
    transaction_id = uuid4()
    legs = [
        entry(transaction_id=transaction_id, account="gateway", amount_micro=-5),
        entry(transaction_id=transaction_id, account="gift", amount_micro=4),
    ]
    assert refused_by(lambda: JournalEntry.objects.bulk_create(legs)) == "journal_sums_to_zero"
    assert refused_by(lambda: entry().save()) == "journal_sums_to_zero"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_journalentry SET created_at = now()",
        "DELETE FROM wallet_journalentry",
        "TRUNCATE wallet_journalentry CASCADE",
    ],
)
def test_the_journal_is_append_only(statement: str) -> None:
    WalletFactory.create(credit_micro=5)
    connection.check_constraints()  # TRUNCATE waits for no deferred check
    assert refused_by(sql(statement)) == "journal_append_only"


def test_a_cause_is_booked_once() -> None:
    wallet = WalletFactory.create(credit_micro=5)
    booked = JournalEntry.objects.get(wallet=wallet).transaction_id
    legs = [
        entry(transaction_id=booked, account="gift", amount_micro=-5),
        entry(transaction_id=booked, account="correction", amount_micro=5),
    ]
    assert refused_by(lambda: JournalEntry.objects.bulk_create(legs)) == "journal_booked_once"


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "wallet"},
        {"account": "wallet", "with_wallet": True},
        {"account": "wallet", "with_wallet": True, "balance_micro": -1},
        {"account": "wallet", "balance_micro": 1},
        {"account": "gift", "with_wallet": True},
        {"account": "gift", "balance_micro": 1},
    ],
)
def test_an_entry_has_wallet_and_balance_or_neither(changes: dict[str, Any]) -> None:
    changes = dict(changes)
    wallet = WalletFactory.create() if changes.pop("with_wallet", False) else None
    assert refused_by(lambda: entry(wallet=wallet, **changes).save()) == "journal_wallet_and_balance"


def test_an_entry_of_nothing_is_refused() -> None:
    assert refused_by(lambda: entry(amount_micro=0).save()) == "journal_amount_not_zero"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"amount_micro": 0}, "topup_amount_positive"),
        ({"amount_micro": -5}, "topup_amount_positive"),
        ({"vat_micro": -1}, "topup_vat_not_negative"),
        ({"status": "credited"}, "topup_credited_has_reference"),
        ({"status": "credited", "credited_at": NOW}, "topup_credited_has_reference"),
        ({"status": "credited", "ref_id": "r"}, "topup_credited_has_reference"),
        ({"status": "verifying", "authority": "a"}, "topup_verifying_is_claimed"),
        ({"status": "verifying", "claimed_at": NOW}, "topup_verifying_is_claimed"),
    ],
)
def test_a_bad_top_up_is_refused(changes: dict[str, Any], rule: str) -> None:
    assert refused_by(lambda: topup(**changes).save()) == rule


@pytest.mark.parametrize(
    ("column", "rule"), [("authority", "topup_authority_once"), ("ref_id", "topup_ref_id_once")]
)
def test_what_a_gateway_named_once_is_one_top_up(column: str, rule: str) -> None:
    given: dict[str, Any] = {column: uuid4().hex}
    topup(**given).save()
    assert refused_by(lambda: topup(**given).save()) == rule
    topup(**given, gateway="another").save()


@pytest.mark.parametrize(
    "changes",
    [{"status": "paid"}, {"status": "open", "ref_id": "r"}, {"status": "cancelled", "verified_at": NOW}],
)
def test_the_sandbox_gateways_book_is_honest(changes: dict[str, Any]) -> None:
    payment = SandboxPayment(authority=uuid4().hex, amount_micro=1, callback_url="/", **changes)
    assert refused_by(payment.save) == "sandbox_paid_has_reference"


def test_there_is_one_choice_of_a_gateway() -> None:
    GatewayChoice.objects.create(gateway="zibal")
    assert refused_by(lambda: GatewayChoice(pk=2, gateway="none").save()) == "gateway_choice_is_one"


def test_people_with_money_or_history_cannot_be_removed() -> None:
    wallet = WalletFactory.create(credit_micro=5)
    sql("SET CONSTRAINTS ALL IMMEDIATE")()
    for statement in (
        "DELETE FROM wallet_wallet WHERE user_id = %s",
        "DELETE FROM accounts_user WHERE id = %s",
    ):
        assert "fk" in str(refused_by(sql(statement, wallet.pk)))


def test_no_rule_of_these_tables_is_without_a_test_here() -> None:
    named = {
        constraint.name
        for model in (Wallet, Hold, JournalEntry, TopUp, SandboxPayment, GatewayChoice)
        for constraint in model._meta.constraints
    }
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [name for name in sorted(named) if f'"{name}"' not in text] == []
