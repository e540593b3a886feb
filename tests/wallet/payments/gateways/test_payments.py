"""Top-ups through both providers, from the form to the journal: what goes wrong on the way costs nobody money."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.factories import WalletFactory
from tests.live import ROOT
from tests.wallet.payments.gateways.servers import CARD, Provider
from wallet import tasks
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman
from wallet.payments import reconciling, topups
from wallet.payments.models import GatewayChoice, TopUp

AMOUNT = micro_from_toman(50_000)
Status = TopUp.Status


def started(wallet: Wallet | None = None) -> TopUp:
    wallet = wallet or WalletFactory.create()
    topups.start(
        user_id=wallet.pk, amount_micro=AMOUNT, callback_url=lambda topup_id: f"http://shop/{topup_id}/"
    )
    return TopUp.objects.filter(user_id=wallet.pk)[0]


def come_back(topup: TopUp, provider: Provider) -> None:
    topups.come_back(topup_id=topup.pk, query=provider.callback(str(topup.authority)))


def state(topup: TopUp) -> tuple[str, int]:
    topup.refresh_from_db()
    return topup.status, Wallet.objects.get(pk=topup.user_id).posted_micro


def grow_older(topup: TopUp, minutes: int) -> None:
    age = timedelta(minutes=minutes)
    topup.refresh_from_db()
    moved = {
        name: value - age
        for name in ("created_at", "returned_at", "claimed_at")
        if (value := getattr(topup, name)) is not None
    }
    TopUp.objects.filter(pk=topup.pk).update(**moved)


@pytest.mark.django_db
def test_a_payer_goes_to_the_gateway_and_comes_back_with_money(client: Client, provider: Provider) -> None:
    wallet = WalletFactory.create()
    client.force_login(wallet.user)
    client.cookies["hamiran_language"] = "en"
    sent = client.post(reverse("wallet:start_topup"), {"amount": "50,000"})
    assert sent["Location"].startswith(provider.url)
    topup = TopUp.objects.get(user_id=wallet.pk)
    payment = provider.book[str(topup.authority)]
    assert payment.callback_url == "http://testserver" + reverse("wallet:topup_return", args=[topup.pk])
    provider.pay(payment.authority)
    page = client.get(payment.callback_url, provider.callback(payment.authority), follow=True).text
    assert "50,000 Toman has been added" in page
    assert state(topup) == (Status.CREDITED, AMOUNT)
    assert (topup.ref_id, topup.card_pan) == (str(payment.ref_id), CARD)


@pytest.mark.django_db
def test_forms_lead_to_the_gateway_from_the_page_that_pays_and_from_no_other(
    client: Client, provider: Provider
) -> None:
    client.force_login(WalletFactory.create().user)

    def form_action(page: str) -> str:
        policy = client.get(reverse(page), {"amount": "50000"})["Content-Security-Policy"]
        return next(part for part in policy.split("; ") if part.startswith("form-action"))

    assert form_action("wallet:review_topup").startswith(f"form-action 'self' {provider.url} https://*.")
    assert form_action("wallet:home") == form_action("wallet:statement") == "form-action 'self'"
    GatewayChoice.objects.create(gateway="sandbox")
    assert form_action("wallet:review_topup") == "form-action 'self'"
    refused = client.post(reverse("wallet:start_topup"), {"amount": "1"})
    assert "form-action 'self'" in refused["Content-Security-Policy"]


@pytest.mark.django_db
def test_a_gateway_that_will_not_start_is_said_plainly(client: Client, provider: Provider) -> None:
    wallet = WalletFactory.create()
    client.force_login(wallet.user)
    client.cookies["hamiran_language"] = "en"
    provider.faults = ["502"]
    response = client.post(reverse("wallet:start_topup"), {"amount": "50,000"})
    assert response.status_code == 502
    assert "Nothing was charged" in response.text
    assert TopUp.objects.get(user_id=wallet.pk).status == Status.FAILED


@pytest.mark.django_db
@pytest.mark.parametrize("fault", ["lost request", "lost reply", "HTML", "502"])
def test_a_lost_verification_is_asked_again_and_credited_once(provider: Provider, fault: str) -> None:
    topup = started()
    provider.pay(str(topup.authority))
    provider.faults = [fault]
    come_back(topup, provider)
    assert state(topup) == (Status.RETURNED, 0)
    grow_older(topup, 1)
    for _ in range(2):
        tasks.settle_returned_topups()
        come_back(topup, provider)
    assert state(topup) == (Status.CREDITED, AMOUNT)


@pytest.mark.django_db
def test_the_amount_is_that_of_our_row_whatever_the_callback_says(provider: Provider) -> None:
    topup = started()
    payment = provider.book[str(topup.authority)]
    provider.pay(payment.authority)
    payment.amount_rial //= 2
    forged = provider.callback(payment.authority) | {"amount": "500000", "Amount": "500000", "Status": "OK"}
    topups.come_back(topup_id=topup.pk, query=forged)
    assert state(topup) == (Status.REVIEW, 0)


@pytest.mark.django_db
def test_a_callback_with_the_paid_authority_of_another_credits_nobody_else(provider: Provider) -> None:
    mine, paid = started(), started()
    provider.pay(str(paid.authority))
    calls = len(provider.calls)
    topups.come_back(topup_id=mine.pk, query=provider.callback(str(paid.authority)))
    assert state(mine) == (Status.REDIRECTED, 0)
    assert len(provider.calls) == calls
    come_back(paid, provider)
    assert state(paid) == (Status.CREDITED, AMOUNT)
    assert state(mine) == (Status.REDIRECTED, 0)


@pytest.mark.django_db
def test_callbacks_in_the_wrong_order_do_no_harm(provider: Provider) -> None:
    """An old 'cancelled' that arrives after the credit, and an early 'paid' before the payment."""
    topup = started()
    authority = str(topup.authority)
    cancelled = provider.callback(authority)
    provider.pay(authority)
    for query in (provider.callback(authority), cancelled, provider.callback(authority)):
        topups.come_back(topup_id=topup.pk, query=query)
        assert state(topup) == (Status.CREDITED, AMOUNT)


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.REDIRECTED, Status.FAILED, Status.EXPIRED])
def test_zarinpals_list_finds_who_paid_and_never_came_back(zarinpal: Provider, status: str) -> None:
    topup, foreign = started(), started()
    for paid in (topup, foreign):
        zarinpal.pay(str(paid.authority))
    TopUp.objects.filter(pk=topup.pk).update(status=status)
    TopUp.objects.filter(pk=foreign.pk).update(authority="another shop's")
    tasks.settle_unverified_payments()
    assert state(topup) == (Status.CREDITED, AMOUNT)
    assert state(foreign) == (Status.REDIRECTED, 0)
    zarinpal.faults = ["502"]
    assert reconciling.unverified() == []


@pytest.mark.django_db
def test_a_top_up_keeps_the_gateway_that_it_was_started_with(zarinpal: Provider, zibal: Provider) -> None:
    at_zibal = started()
    assert at_zibal.gateway == "zibal"
    zibal.pay(str(at_zibal.authority))
    GatewayChoice.objects.create(gateway="zarinpal")
    at_zarinpal = started()
    assert at_zarinpal.gateway == "zarinpal"
    come_back(at_zibal, zibal)
    assert state(at_zibal) == (Status.CREDITED, AMOUNT)


@pytest.mark.django_db
def test_a_run_that_takes_too_long_leaves_the_rest_for_the_next(
    zibal: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    topup = started()
    zibal.pay(str(topup.authority))
    grow_older(topup, 3)
    monkeypatch.setattr(reconciling, "unfinished", lambda: [topup.pk])
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "SETTLE_SECONDS", -1)
        tasks.settle_returned_topups()
    assert state(topup) == (Status.REDIRECTED, 0)
    tasks.settle_returned_topups()
    assert state(topup) == (Status.CREDITED, AMOUNT)


# With 0 every caller asks the gateway, as if all had lost their claim.
@pytest.mark.parametrize("claim_seconds", [90, 0])
def test_parallel_callbacks_credit_once(
    committed_db: None, provider: Provider, monkeypatch: pytest.MonkeyPatch, claim_seconds: int
) -> None:
    monkeypatch.setattr(topups, "CLAIM_LASTS", timedelta(seconds=claim_seconds))
    topup = started()
    provider.pay(str(topup.authority))
    failures: list[BaseException] = []
    barrier = threading.Barrier(8)

    def at_once(call: Callable[[], None]) -> None:
        barrier.wait()
        try:
            call()
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    calls = [lambda: come_back(topup, provider)] * 6 + [lambda: topups.settle(topup_id=topup.pk)] * 2
    threads = [threading.Thread(target=at_once, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert state(topup) == (Status.CREDITED, AMOUNT)
    assert JournalEntry.objects.filter(transaction_id=topup.pk).count() == 3


KILLED_BEFORE_THE_CREDIT = """
import os, signal, sys
import django
django.setup()
from wallet.ledger import writer
from wallet.payments import topups
writer.post = lambda **_: os.kill(os.getpid(), signal.SIGKILL)
topups.settle(topup_id=sys.argv[1])
"""


def test_a_process_killed_between_verify_and_credit_leaves_nothing_undone(
    committed_db: None, provider: Provider
) -> None:
    topup = started()
    authority = str(topup.authority)
    provider.pay(authority)
    database, name = connection.settings_dict, type(provider).__name__.upper()
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}",
        f"{name}_BASE_URL": provider.url,
        "ZARINPAL_MERCHANT_ID" if name == "ZARINPAL" else "ZIBAL_MERCHANT": provider.merchant,
    }
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_CREDIT, str(topup.pk)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert provider.book[authority].is_verified
    assert state(topup) == (Status.VERIFYING, 0)
    assert topup.pk not in reconciling.unfinished()
    grow_older(topup, 2)
    assert topup.pk in reconciling.unfinished()
    tasks.settle_returned_topups()
    topups.settle(topup_id=topup.pk)
    assert state(topup) == (Status.CREDITED, AMOUNT)


class Killed(BaseException):
    pass


class Shop:
    """Two payers with top-ups at one provider, and everything that can happen to them, by name."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.wallets = [WalletFactory.create() for _ in range(2)]
        self.started: list[TopUp] = []
        self.ages: dict[UUID, int] = {}
        self.dies = False
        self._post = writer.post

    def post(self, **booking: Any) -> int:
        if self.dies:
            self.dies = False
            raise Killed
        return self._post(**booking)

    def do(self, step: str, which: int) -> None:
        match step.split():
            case ["start"]:
                with contextlib.suppress(topups.GatewayUnavailable):
                    topup = started(self.wallets[which % 2])
                    self.started.append(topup)
                    self.ages[topup.pk] = 0
            case ["reconcile"]:
                for topup_id in set(reconciling.unfinished()) & set(self.ages):
                    self._settle(topup_id)
            case ["list"]:
                for topup_id in reconciling.unverified():
                    self._settle(topup_id)
            case ["wait", minutes]:
                self.wait(int(minutes))
            case ["fault", *fault]:
                self.provider.faults.append(" ".join(fault))
            case ["die"]:
                self.dies = True
            case [done_by_payer]:
                if self.started:
                    self._let_payer(done_by_payer, self.started[which % len(self.started)], which)

    def _let_payer(self, what: str, topup: TopUp, which: int) -> None:
        if what == "pay":
            self.provider.pay(str(topup.authority))
        elif what == "cancel":
            self.provider.fail(str(topup.authority))
        else:
            other = self.started[-1 - which % len(self.started)]
            of = topup if what == "return" else other
            query = self.provider.callback(str(of.authority)) | {"Status": "OK", "success": "1"}
            with contextlib.suppress(Killed):
                topups.come_back(topup_id=topup.pk, query=query)

    def _settle(self, topup_id: UUID) -> None:
        with contextlib.suppress(Killed):
            topups.settle(topup_id=topup_id)

    def wait(self, minutes: int) -> None:
        """Time passes, for the gateway too: after half an hour it takes no more money."""
        for topup in self.started:
            grow_older(topup, minutes)
            self.ages[topup.pk] += minutes
            if self.ages[topup.pk] >= 30:
                self.provider.fail(str(topup.authority))

    def come_to_rest(self) -> None:
        self.dies = False
        self.provider.faults.clear()
        for _ in range(2):
            self.wait(31)
            self.do("list", 0)
            self.do("reconcile", 0)


KINDS = (
    "start", "pay", "pay", "return", "return", "forge", "cancel", "reconcile", "list", "die",
    "wait 1", "wait 3", "wait 40", "fault lost reply", "fault lost request", "fault HTML", "fault 502",
)  # fmt: skip
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 3))


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=15,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=6, max_size=24))
@example(steps=[("die", 0), ("pay", 0), ("return", 0)])
@example(steps=[("pay", 0), ("fault lost reply", 0), ("return", 0), ("wait 40", 0), ("return", 0)])
@example(steps=[("start", 1), ("pay", 0), ("forge", 1), ("return", 0), ("forge", 0), ("cancel", 1)])
def test_whatever_happens_the_gateways_book_is_our_journal(
    provider: Provider, steps: list[tuple[str, int]]
) -> None:
    shop = Shop(provider)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "post", shop.post)
        for step, which in [("start", 0), *steps]:
            shop.do(step, which)
        shop.come_to_rest()
    for topup in shop.started:
        topup.refresh_from_db()
        payment = provider.book[str(topup.authority)]
        assert payment.is_verified == (payment.state == "paid")
        assert topup.status in (Status.CREDITED, Status.FAILED, Status.EXPIRED)
        booked = list(
            JournalEntry.objects.filter(transaction_id=topup.pk, account="wallet").values_list(
                "wallet_id", "amount_micro"
            )
        )
        assert booked == ([(topup.user_id, AMOUNT)] if payment.is_verified else [])
    for wallet in shop.wallets:
        paid = [t for t in shop.started if t.user_id == wallet.pk and t.status == Status.CREDITED]
        assert Wallet.objects.get(pk=wallet.pk).posted_micro == len(paid) * AMOUNT
