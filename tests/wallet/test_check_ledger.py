import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from proxy.usage.integrity import CHECKS as USAGE_CHECKS
from proxy.usage.integrity import EVERY_COST
from proxy.usage.models import UsageRecord
from tests.factories import WalletFactory
from tests.proxy.factories import PriceFactory, UsageRecordFactory
from wallet import integrity
from wallet.integrity import Finding
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Narrows the command to one check of our own, so that it does not judge what other tests left behind."""

    def narrow(sql: str) -> None:
        monkeypatch.setattr("proxy.usage.integrity.CHECKS", [("nothing is odd", sql)])
        monkeypatch.setattr(integrity, "CHECKS", [])
        monkeypatch.setattr(integrity, "WARNINGS", [("nothing is late", "SELECT 1 AS late")])

    return narrow


def run(*arguments: str) -> tuple[str, int]:
    """What the command prints, and its exit status."""
    out = StringIO()
    try:
        call_command("check_ledger", *arguments, stdout=out)
    except SystemExit as stop:
        return out.getvalue(), int(str(stop.code))
    return out.getvalue(), 0


def test_a_sound_ledger_exits_with_zero(committed_db: None, only: Callable[[str], None]) -> None:
    only("SELECT 1 WHERE false")
    text, status = run()
    assert status == 0
    assert "The ledger is sound: 1 rules hold." in text
    assert "Warning: nothing is late" in text
    text, status = run("--json")
    assert status == 0
    assert json.loads(text) == {
        "ok": True,
        "broken": [],
        "warnings": [{"invariant": "nothing is late", "detail": "late=1"}],
    }


def test_a_broken_rule_is_listed_and_exits_with_one(committed_db: None, only: Callable[[str], None]) -> None:
    only("SELECT 7 AS wallet_id")
    text, status = run()
    assert status == 1
    assert "Broken: nothing is odd\n    wallet_id=7" in text
    assert "sound" not in text
    text, status = run("--json")
    assert status == 1
    assert json.loads(text)["broken"] == [{"invariant": "nothing is odd", "detail": "wallet_id=7"}]
    assert json.loads(text)["ok"] is False


def test_every_real_check_runs_in_the_snapshot(committed_db: None) -> None:
    WalletFactory.create(credit_micro=5)
    text, status = run("--json")
    assert status == (0 if json.loads(text)["ok"] else 1)


def record(wallet: Wallet, *, tokens: int) -> UsageRecord:
    return UsageRecord.objects.create(
        id=uuid4(),
        created_at=timezone.now(),
        user_id=wallet.pk,
        key_id=1,
        model="m",
        upstream_id=1,
        stream=False,
        outcome="completed",
        billed_by="usage",
        status=200,
        prompt_tokens=tokens,
        cached_tokens=0,
        completion_tokens=0,
        input_rial_per_million=1,
        output_rial_per_million=1,
        cached_input_rial_per_million=1,
        cost_micro=tokens,
        total_ms=1,
    )


def book(wallet: Wallet, record: UsageRecord, *, cost_micro: int) -> None:
    writer.post(
        transaction_id=record.pk,
        kind=JournalEntry.Kind.COMPLETION,
        wallet_id=wallet.pk,
        amount_micro=-cost_micro,
        counter_account=JournalEntry.Account.REVENUE,
    )


def usage_findings(wallet: Wallet) -> list[Finding]:
    connection.check_constraints()
    return [finding for finding in integrity.run(USAGE_CHECKS) if f"={wallet.pk}," in finding.detail + ","]


@pytest.mark.django_db
def test_usage_and_journal_agree_or_it_is_reported() -> None:
    wallet = WalletFactory.create(credit_micro=1_000)
    right = record(wallet, tokens=10)
    book(wallet, right, cost_micro=10)
    record(wallet, tokens=0)
    assert not usage_findings(wallet)

    record(wallet, tokens=20)  # charged nowhere
    assert len(usage_findings(wallet)) == 1
    book(wallet, record(wallet, tokens=30), cost_micro=29)
    assert len(usage_findings(wallet)) == 3  # seen from both sides


@pytest.mark.django_db
@pytest.mark.parametrize("check", [USAGE_CHECKS, [EVERY_COST]])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, None),
        ({"quantities": {"reasoning": 4}, "cost_micro": 10 * 1_000 + 5 * 4_000}, None),
        ({"quantities": {"reasoning": 4}, "cost_micro": 9}, "cost_micro=30000"),
        ({"quantities": {"reasoning": 99}, "cost_micro": 30_000}, "more than the whole"),
        ({"quantities": {"page": "many"}, "cost_micro": 30_000}, "reason="),
        ({"output_rial_per_million": 4_001}, "cost_micro=30000"),
        ({"model": "another"}, "no price list of its model"),
        ({"price_list_id": 0}, "no price list of its model"),
        ({"quantities": {"request": 1}, "cost_micro": 0, "billed_by": "nothing"}, None),
    ],
)
def test_a_cost_that_does_not_follow_from_its_list_is_reported(
    check: list[integrity.Check], fields: dict[str, Any], said: str | None
) -> None:
    price = PriceFactory.create()
    priced = {"model": price.model.model_id, "price_list_id": price.pk}
    charged = UsageRecordFactory.create(**{**priced, **fields})
    recomputed = [one for one in check if "price list says" in one[0]]
    found = [finding for finding in integrity.run(recomputed) if str(charged.pk) in finding.detail]
    assert len(found) == (said is not None)
    assert not said or said in found[0].detail


@pytest.mark.django_db
def test_a_record_whose_list_cannot_be_read_is_reported() -> None:
    price = PriceFactory.create(further={"of": "a later version"})
    charged = UsageRecordFactory.create(model=price.model.model_id, price_list_id=price.pk)
    found = [finding for finding in integrity.run([EVERY_COST]) if str(charged.pk) in finding.detail]
    assert "no price list of its model" in found[0].detail


def test_all_records_are_looked_at_when_that_is_asked_for(
    committed_db: None, only: Callable[[str], None]
) -> None:
    only("SELECT 1 WHERE false")
    assert "1 rules hold" in run()[0]
    assert "2 rules hold" in run("--all")[0] or "costs what its price list says" in run("--all")[0]


@pytest.mark.django_db
def test_a_charge_to_another_wallet_and_one_for_nothing_are_reported() -> None:
    wallet, other = WalletFactory.create(credit_micro=1_000), WalletFactory.create(credit_micro=1_000)
    book(other, record(wallet, tokens=10), cost_micro=10)
    assert len(usage_findings(wallet)) == 1
    unused = UsageRecord(id=uuid4())
    book(other, unused, cost_micro=10)
    assert any(str(unused.pk) in finding.detail for finding in usage_findings(other))
