"""Webhooks are told of money: of a top-up with its credit, of a balance by what a look at it finds, each once."""

import threading
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection, transaction

from accounts.signals import deliveries, payload
from accounts.signals.models import WebhookEndpoint
from tests.accounts.signals.told import names, told
from tests.factories import WalletFactory, WebhookEndpointFactory
from tests.wallet.payments import test_topups as topups
from tests.wallet.test_database_rules import refused_by
from wallet import alerts, signals, tasks
from wallet.credits.models import BalanceState
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman

CREDIT, THRESHOLD = micro_from_toman(1_000), micro_from_toman(500)


def watched(credit_micro: int = CREDIT, **endpoint: Any) -> tuple[Wallet, WebhookEndpoint]:
    """A wallet with a threshold that a webhook hears of, looked at once."""
    wallet = WalletFactory.create(credit_micro=credit_micro)
    alerts.choose(user_id=wallet.pk, threshold_micro=THRESHOLD)
    made = WebhookEndpointFactory.create(user=wallet.user, **endpoint)
    signals.tell_of_balances()
    return wallet, made


def move(wallet: Wallet, toman: int) -> None:
    with transaction.atomic():
        writer.post(
            transaction_id=uuid4(),
            kind=JournalEntry.Kind.CORRECTION,
            wallet_id=wallet.pk,
            amount_micro=micro_from_toman(toman),
            counter_account=JournalEntry.Account.CORRECTION,
        )


def looked(wallet: Wallet, toman: int) -> None:
    move(wallet, toman)
    signals.tell_of_balances()


@pytest.mark.django_db
def test_a_credited_top_up_is_told_once_with_its_exact_amount() -> None:
    wallet = WalletFactory.create()
    endpoint = WebhookEndpointFactory.create(user=wallet.user)
    topup = topups.started(wallet)
    topups.pay(topup)
    for _ in range(2):
        topups.come_back(topup)
    ((event, data),) = told(endpoint)
    assert event == "topup.credited"
    assert data == {
        "topup_id": str(topup.pk),
        "amount_toman": topups.AMOUNT / micro_from_toman(1),
        "amount_micro": topups.AMOUNT,
        "currency": "IRT",
    }


@pytest.mark.django_db
def test_a_balance_that_falls_is_told_low_then_empty_then_recovered_each_once() -> None:
    wallet, endpoint = watched()
    looked(wallet, -400)
    assert names(endpoint) == []
    looked(wallet, -200)
    looked(wallet, -100)
    assert names(endpoint) == ["balance.low"]
    looked(wallet, -250)
    assert names(endpoint) == ["balance.low", "balance.empty"]
    looked(wallet, 200)  # still low
    looked(wallet, 1_000)
    looked(wallet, 1)
    assert names(endpoint) == ["balance.low", "balance.empty", "balance.recovered"]
    assert told(endpoint)[0][1] == {
        "posted_toman": 400,
        "posted_micro": micro_from_toman(400),
        "threshold_toman": 500,
        "currency": "IRT",
    }


@pytest.mark.django_db
def test_one_that_falls_through_both_is_told_of_both() -> None:
    wallet, endpoint = watched()
    looked(wallet, -950)
    assert names(endpoint) == ["balance.low", "balance.empty"]


@pytest.mark.django_db
def test_without_a_threshold_only_empty_and_recovered_are_told() -> None:
    wallet, endpoint = watched()
    alerts.choose(user_id=wallet.pk, threshold_micro=None)
    looked(wallet, -899)
    assert names(endpoint) == []
    looked(wallet, -2)
    looked(wallet, 100)
    assert names(endpoint) == ["balance.empty", "balance.recovered"]


@pytest.mark.django_db
def test_a_wallet_that_is_low_when_it_is_first_looked_at_is_not_told_of_it() -> None:
    wallet, endpoint = watched(credit_micro=micro_from_toman(300))
    assert names(endpoint) == []
    looked(wallet, 300)
    assert names(endpoint) == ["balance.recovered"]


@pytest.mark.django_db
def test_wallets_that_nobody_wants_to_hear_of_are_not_looked_at() -> None:
    wallet, endpoint = watched(events=["key.created"])
    looked(wallet, -950)
    assert not BalanceState.objects.filter(pk=wallet.pk).exists()
    assert names(endpoint) == []


@pytest.mark.django_db
def test_what_is_held_warns_nobody() -> None:
    wallet, endpoint = watched()
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=micro_from_toman(990))
    tasks.tell_of_balances()
    assert names(endpoint) == []


def test_of_two_looks_at_once_one_tells(committed_db: None) -> None:
    wallet, endpoint = watched()
    move(wallet, -600)
    together = threading.Barrier(4)

    def look() -> None:
        together.wait()
        signals.tell_of_balances()
        connection.close()

    looking = [threading.Thread(target=look) for _ in range(4)]
    for each in looking:
        each.start()
    for each in looking:
        each.join()
    assert names(endpoint) == ["balance.low"]
    endpoint.delete()


@pytest.mark.django_db
def test_a_figure_is_sent_to_its_last_digit() -> None:
    wallet, endpoint = watched(credit_micro=123_456_789_012_345_678)
    with transaction.atomic():
        signals.topup_credited(user_id=wallet.pk, topup_id=uuid4(), amount_micro=123_456_789_012_345_678)
    sent = deliveries.body(endpoint.deliveries.get())
    assert '"amount_toman": 12345678901.2345678' in sent
    assert orjson.loads(sent)["type"] == "topup.credited"
    event = endpoint.deliveries.get().event
    assert payload.body(event="x", created_at=event.created_at, data="{}").startswith(b'{"type":"x",')


@pytest.mark.django_db
def test_the_database_refuses_a_state_that_there_is_not() -> None:
    wallet, _endpoint = watched()
    balance = BalanceState.objects.filter(pk=wallet.pk)
    assert refused_by(lambda: balance.update(state="rich")) == "balancestate_known"
