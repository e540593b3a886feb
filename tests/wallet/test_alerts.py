import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.channel_models import ChannelName, Notice
from accounts.channels import delivery
from accounts.shared.channel import NeedsOperator, NoAnswer, SendError, Unreachable
from accounts.sms import sending
from tests.factories import UserFactory, WalletFactory
from tests.wallet.test_database_rules import refused_by
from wallet import alerts, tasks
from wallet.credits import gifts
from wallet.credits.models import WalletAlert
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman

CREDIT, THRESHOLD = micro_from_toman(1_000), micro_from_toman(500)


@dataclass
class Phone:
    """Takes what is sent; refuses as often as `refusals` says."""

    sent: list[tuple[str, str]] = field(default_factory=list)
    refusals: int = 0
    refusal: type[SendError] = SendError

    def send_text(self, *, mobile: str, text: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise self.refusal("no")
        self.sent.append((mobile, text))

    def to(self, wallet: Wallet) -> list[str]:
        return [text for mobile, text in self.sent if mobile == wallet.user.mobile]


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Phone:
    phone = Phone()
    monkeypatch.setattr(sending, "provider", lambda: phone)
    return phone


@pytest.fixture
def wallet(db: None) -> Wallet:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    alerts.choose(user_id=wallet.pk, threshold_micro=THRESHOLD)
    return wallet


def spend(wallet: Wallet, toman: int) -> None:
    import uuid

    writer.post(
        transaction_id=uuid.uuid4(),
        kind=JournalEntry.Kind.COMPLETION,
        wallet_id=wallet.pk,
        amount_micro=-micro_from_toman(toman),
        counter_account=JournalEntry.Account.REVENUE,
    )


def hold(wallet: Wallet, toman: int) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=F("held_micro") + micro_from_toman(toman))


def next_day(wallet: Wallet) -> None:
    WalletAlert.objects.filter(pk=wallet.pk, sent_at__isnull=False).update(
        sent_at=F("sent_at") - timedelta(days=1)
    )


def run(times: int = 3) -> None:
    """So many minutes."""
    for _ in range(times):
        tasks.send_low_balance_alerts()
        Notice.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
        delivery.deliver(ChannelName.SMS)


def test_one_sms_goes_out_when_the_balance_falls_below_the_threshold(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 500)
    run()
    assert phone.to(wallet) == []
    spend(wallet, 1)
    run()
    [text] = phone.to(wallet)
    assert "۴۹۹" in text
    assert "/wallet/" in text
    spend(wallet, 100)
    run()
    assert len(phone.to(wallet)) == 1


def test_after_a_top_up_it_is_armed_again(wallet: Wallet, phone: Phone) -> None:
    for crossings in (1, 2, 3):
        spend(wallet, 600)
        run()
        assert len(phone.to(wallet)) == crossings
        next_day(wallet)
        gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(600))
        run()
    gifts.give(wallet_id=wallet.pk, amount_micro=1)
    run()
    assert len(phone.to(wallet)) == 3


def test_a_top_up_that_is_too_small_does_not_arm_it(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 900)
    run()
    gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(100))
    run()
    spend(wallet, 50)
    run()
    assert len(phone.to(wallet)) == 1


def test_what_requests_reserve_and_give_back_warns_nobody(wallet: Wallet, phone: Phone) -> None:
    for _ in range(3):
        hold(wallet, 700)
        run()
        hold(wallet, -700)
        run()
    assert phone.to(wallet) == []


def test_what_requests_reserve_and_give_back_does_not_arm_it_either(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 600)
    for _ in range(3):
        hold(wallet, 300)
        run()
        hold(wallet, -300)
        run()
    assert len(phone.to(wallet)) == 1


def test_what_came_in_arms_it_while_much_is_reserved(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 600)
    run()
    hold(wallet, 400)
    gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(100))
    run()
    next_day(wallet)
    spend(wallet, 1)
    run()
    assert len(phone.to(wallet)) == 2


def test_nobody_gets_two_in_a_day_whatever_they_do(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 600)
    run()
    for _ in range(5):
        gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(600))
        run()
        alerts.choose(user_id=wallet.pk, threshold_micro=None)
        alerts.choose(user_id=wallet.pk, threshold_micro=THRESHOLD + 1)
        run()
        spend(wallet, 600)
        run()
    assert len(phone.to(wallet)) == 1
    next_day(wallet)
    run()
    assert len(phone.to(wallet)) == 2


def test_a_used_up_budget_sends_it_later(wallet: Wallet, phone: Phone, settings: Any) -> None:
    spend(wallet, 600)
    settings.SMS_PER_HOUR = 0
    run()
    assert phone.to(wallet) == []
    settings.SMS_PER_HOUR = 10
    run()
    assert len(phone.to(wallet)) == 1


def test_what_has_not_left_when_the_balance_recovers_is_not_sent_and_the_next_time_is(
    wallet: Wallet, phone: Phone
) -> None:
    spend(wallet, 600)
    phone.refusals, phone.refusal = 1, Unreachable
    run(1)
    gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(600))
    run()
    assert phone.to(wallet) == []
    spend(wallet, 600)
    run()
    assert len(phone.to(wallet)) == 1


def test_what_has_not_left_when_the_alert_is_given_up_is_not_sent(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 600)
    phone.refusals, phone.refusal = 1, Unreachable
    run(1)
    alerts.choose(user_id=wallet.pk, threshold_micro=None)
    run()
    assert (phone.refusals, phone.to(wallet)) == (0, [])


def test_what_the_provider_refuses_is_sent_by_the_next_run(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 600)
    phone.refusals = 1
    run(1)
    assert phone.to(wallet) == []
    run()
    assert len(phone.to(wallet)) == 1


def test_one_that_fails_does_not_keep_the_others(wallet: Wallet, phone: Phone) -> None:
    other = WalletFactory.create(credit_micro=CREDIT)
    alerts.choose(user_id=other.pk, threshold_micro=THRESHOLD)
    spend(wallet, 600)
    spend(other, 600)
    phone.refusals = 1
    run(1)
    assert len(phone.to(wallet) + phone.to(other)) == 1
    run(1)
    assert len(phone.to(wallet) + phone.to(other)) == 2


@pytest.mark.parametrize("refusal", [NeedsOperator, Unreachable])
def test_a_provider_that_sends_to_nobody_is_asked_once_a_run(
    wallet: Wallet, phone: Phone, refusal: type[SendError]
) -> None:
    other = WalletFactory.create(credit_micro=CREDIT)
    alerts.choose(user_id=other.pk, threshold_micro=THRESHOLD)
    spend(wallet, 600)
    spend(other, 600)
    phone.refusals, phone.refusal = 2, refusal
    run(2)
    assert (phone.refusals, phone.sent) == (0, [])
    run(1)
    assert len(phone.to(wallet)) == len(phone.to(other)) == 1


def test_one_that_may_have_arrived_is_not_sent_again(wallet: Wallet, phone: Phone) -> None:
    spend(wallet, 600)
    phone.refusals, phone.refusal = 1, NoAnswer
    run()
    assert (phone.refusals, phone.to(wallet)) == (0, [])


def test_runs_at_once_send_one(committed_db: None, phone: Phone) -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    alerts.choose(user_id=wallet.pk, threshold_micro=CREDIT)
    assert alerts.threshold_micro(wallet.pk) == CREDIT
    WalletAlert.objects.filter(pk=wallet.pk).update(threshold_micro=CREDIT + 1)
    barrier = threading.Barrier(6)

    def run_once() -> None:
        barrier.wait()
        try:
            tasks.send_low_balance_alerts()
            delivery.deliver(ChannelName.SMS)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(phone.to(wallet)) == 1


def test_a_wallet_that_is_low_already_is_not_alerted_about(wallet: Wallet, phone: Phone) -> None:
    alerts.choose(user_id=wallet.pk, threshold_micro=CREDIT + 1)
    run()
    assert phone.to(wallet) == []
    gifts.give(wallet_id=wallet.pk, amount_micro=10)
    run()
    spend(wallet, 1)
    run()
    assert len(phone.to(wallet)) == 1


def test_nobody_who_did_not_ask_or_was_shut_out_gets_one(wallet: Wallet, phone: Phone) -> None:
    silent = WalletFactory.create(credit_micro=1)
    gone = WalletFactory.create(credit_micro=CREDIT)
    alerts.choose(user_id=gone.pk, threshold_micro=THRESHOLD)
    gone.user.is_active = False
    gone.user.save()
    alerts.choose(user_id=wallet.pk, threshold_micro=None)
    for low in (wallet, gone):
        spend(low, 900)
    run()
    assert [phone.to(each) for each in (wallet, silent, gone)] == [[], [], []]


def test_without_a_provider_nothing_is_claimed(wallet: Wallet, settings: Any) -> None:
    settings.SMS_PROVIDER = "none"
    spend(wallet, 900)
    run(1)
    assert WalletAlert.objects.get(pk=wallet.pk).alerted_at is None


def test_the_console_is_the_telephone_of_the_sandbox(
    wallet: Wallet, capsys: pytest.CaptureFixture[str]
) -> None:
    spend(wallet, 900)
    run()
    assert capsys.readouterr().out.count(f"SMS to {wallet.user.mobile}: ") == 1


def test_a_bad_alert_is_refused(db: None) -> None:
    alert = WalletAlert(wallet=WalletFactory.create(), threshold_micro=0)
    assert refused_by(lambda: alert.save(force_insert=True)) == "alert_threshold_positive"


def test_the_threshold_is_chosen_on_the_wallet_page(wallet: Wallet, client: Client) -> None:
    client.force_login(wallet.user)
    client.cookies["hamiran_language"] = "en"
    assert 'value="500"' in client.get("/wallet/").text
    address = reverse("wallet:choose_alert")
    page = client.post(address, {"threshold": "۲۵٬۰۰۰"}, follow=True).text
    assert "less than 25,000 Toman is available" in page
    assert 'value="25,000"' in page
    assert "whole number of Toman" in client.post(address, {"threshold": "x"}, follow=True).text
    assert "too large" in client.post(address, {"threshold": "999999999999"}, follow=True).text
    assert alerts.threshold_micro(wallet.pk) == micro_from_toman(25_000)
    assert "You will get no messages" in client.post(address, {"threshold": ""}, follow=True).text
    assert alerts.threshold_micro(wallet.pk) is None
    client.force_login(UserFactory.create())
    assert "no wallet" in client.post(address, {"threshold": "5"}, follow=True).text
