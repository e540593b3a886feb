import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils import timezone

from accounts.models import Tier
from tests.factories import TierFactory, UserFactory, WalletFactory
from wallet import freezing, tasks
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman
from wallet.payments import gateways, reconciling, topups
from wallet.payments.gateways import sandbox
from wallet.payments.gateways.interface import (
    AmountDiffers,
    GatewayError,
    NotPaid,
    Pending,
    Started,
    Verification,
    Verified,
)
from wallet.payments.invoice_models import Invoice
from wallet.payments.models import SandboxPayment, TopUp

AMOUNT = micro_from_toman(50_000)
VAT = micro_from_toman(5_000)
MIDNIGHT_IN_TEHRAN = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)


def callback(topup_id: UUID) -> str:
    return f"http://testserver/wallet/topups/{topup_id}/return/"


def started(wallet: Wallet | None = None, *, amount_micro: int = AMOUNT) -> TopUp:
    """A top-up whose payer is on the gateway's page."""
    wallet = wallet or WalletFactory.create()
    topups.start(user_id=wallet.pk, amount_micro=amount_micro, callback_url=callback)
    return TopUp.objects.filter(user_id=wallet.pk)[0]


def come_back(topup: TopUp) -> None:
    topups.come_back(topup_id=topup.pk, query={"Authority": str(topup.authority), "Status": "OK"})


def pay(topup: TopUp) -> None:
    sandbox.decide(str(topup.authority), pays=True)


def state(topup: TopUp) -> tuple[str, int]:
    """Status, and what the wallet has."""
    topup.refresh_from_db()
    return topup.status, Wallet.objects.get(pk=topup.user_id).posted_micro


def grow_older(topup: TopUp, age: timedelta) -> None:
    then = timezone.now() - age
    TopUp.objects.filter(pk=topup.pk).update(created_at=then)
    TopUp.objects.filter(pk=topup.pk, returned_at__isnull=False).update(returned_at=then)
    TopUp.objects.filter(pk=topup.pk, claimed_at__isnull=False).update(claimed_at=then)
    SandboxPayment.objects.filter(pk=topup.authority).update(created_at=timezone.now() - age)


@dataclass
class ScriptedGateway:
    """Answers as told; for what the sandbox's honest gateway never says."""

    answers: list[Verification] = field(default_factory=list)
    starts: Started | GatewayError = field(default_factory=lambda: Started(uuid4().hex, "/pay"))
    name: str = "scripted"
    asked: list[tuple[str, int]] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    def start(self, payment: Any) -> Started | GatewayError:
        return self.starts

    def unverified(self) -> list[str]:
        return []

    def returned_authority(self, query: Mapping[str, str]) -> str | None:
        return query["Authority"]

    def verify(self, *, authority: str, amount_micro: int) -> Verification:
        self.asked.append((authority, amount_micro))
        self.before_answer()
        return self.answers.pop(0)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> ScriptedGateway:
    scripted = ScriptedGateway()
    monkeypatch.setattr(gateways, "configured", lambda: scripted)
    monkeypatch.setattr(gateways, "named", lambda name: scripted)
    return scripted


@pytest.mark.django_db
def test_a_paid_top_up_is_credited_with_state_and_journal_in_agreement() -> None:
    topup = started()
    assert topup.status == TopUp.Status.REDIRECTED
    pay(topup)
    come_back(topup)
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)
    assert topup.credited_at
    assert topup.returned_at
    assert topup.ref_id == SandboxPayment.objects.get(pk=topup.authority).ref_id
    legs = JournalEntry.objects.filter(transaction_id=topup.pk).order_by("id")
    assert [(leg.kind, leg.account, leg.wallet_id, leg.amount_micro) for leg in legs] == [
        ("topup", "wallet", topup.user_id, AMOUNT),
        ("topup", "vat", None, VAT),
        ("topup", "gateway", None, -AMOUNT - VAT),
    ]


@pytest.mark.django_db
def test_a_callback_before_the_payment_credits_nothing_and_the_payment_still_counts() -> None:
    topup = started()
    come_back(topup)
    assert state(topup) == (TopUp.Status.RETURNED, 0)
    pay(topup)
    come_back(topup)
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


@pytest.mark.django_db
def test_a_forged_callback_changes_nothing(gateway: ScriptedGateway) -> None:
    topup, gateway.starts = started(), Started(uuid4().hex, "/pay")
    other = started()
    for authority in ("unknown", str(other.authority), ""):
        topups.come_back(topup_id=topup.pk, query={"Authority": authority, "Status": "OK"})
    assert state(topup) == (TopUp.Status.REDIRECTED, 0)
    assert state(other) == (TopUp.Status.REDIRECTED, 0)
    assert not gateway.asked


@pytest.mark.django_db
def test_a_callback_for_a_top_up_without_an_authority_changes_nothing() -> None:
    topup = started()
    TopUp.objects.filter(pk=topup.pk).update(status=TopUp.Status.CREATED, authority=None)
    for query in ({}, {"Authority": "None"}):
        topups.come_back(topup_id=topup.pk, query=query)
    assert state(topup) == (TopUp.Status.CREATED, 0)


@pytest.mark.django_db
def test_a_cancelled_payment_fails_and_cannot_be_paid_afterwards() -> None:
    topup = started()
    sandbox.decide(str(topup.authority), pays=False)
    come_back(topup)
    assert state(topup) == (TopUp.Status.FAILED, 0)
    pay(topup)
    come_back(topup)
    assert state(topup) == (TopUp.Status.FAILED, 0)


@pytest.mark.django_db
def test_coming_back_again_and_again_credits_once() -> None:
    topup = started()
    pay(topup)
    for _ in range(3):
        come_back(topup)
        topups.settle(topup_id=topup.pk)
        tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


def test_parallel_callbacks_credit_once(committed_db: None) -> None:
    topup = started()
    pay(topup)
    failures: list[BaseException] = []
    barrier = threading.Barrier(8)

    def call_back() -> None:
        barrier.wait()
        try:
            come_back(topup)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call_back) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)
    assert JournalEntry.objects.filter(transaction_id=topup.pk).count() == 3
    assert Invoice.objects.filter(topup=topup).count() == 1


def test_both_of_two_callers_that_hold_a_verified_answer_credit_once(
    committed_db: None, gateway: ScriptedGateway
) -> None:
    """The narrowest race: a caller lost its claim while it asked, and both were told that it is paid."""
    topup = started()
    gateway.answers = [Verified("ref-" + uuid4().hex, False)] * 2
    both, first_asks = threading.Barrier(2), threading.Event()

    def wait_for_both() -> None:
        first_asks.set()
        both.wait(20)

    gateway.before_answer = wait_for_both

    def settle() -> None:
        try:
            topups.settle(topup_id=topup.pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=settle) for _ in range(2)]
    threads[0].start()
    assert first_asks.wait(20)
    TopUp.objects.filter(pk=topup.pk).update(claimed_at=timezone.now() - topups.CLAIM_LASTS)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert not gateway.answers
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)
    assert JournalEntry.objects.filter(transaction_id=topup.pk).count() == 3


@pytest.mark.django_db
def test_while_one_asks_the_gateway_others_do_not(gateway: ScriptedGateway) -> None:
    topup = started()
    gateway.answers = [Pending()]
    gateway.before_answer = lambda: come_back(topup)
    come_back(topup)
    assert len(gateway.asked) == 1
    assert state(topup) == (TopUp.Status.RETURNED, 0)


@pytest.mark.django_db
def test_a_late_answer_without_a_claim_changes_nothing(gateway: ScriptedGateway) -> None:
    topup = started()
    gateway.answers = [Verified("paid", False)]

    def another_is_faster() -> None:
        gateway.before_answer = lambda: None
        TopUp.objects.filter(pk=topup.pk).update(claimed_at=timezone.now() - topups.CLAIM_LASTS)
        topups.settle(topup_id=topup.pk)
        gateway.answers = [NotPaid()]

    gateway.before_answer = another_is_faster
    come_back(topup)
    assert not gateway.answers
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


def test_dying_between_verify_and_credit_loses_nothing(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(**arguments: Any) -> int:
        raise Killed

    topup = started()
    pay(topup)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "post", die)
        with pytest.raises(Killed):
            come_back(topup)
    assert state(topup) == (TopUp.Status.VERIFYING, 0)
    assert SandboxPayment.objects.get(pk=topup.authority).verified_at is not None
    come_back(topup)  # the claim of the dead one still stands
    assert state(topup) == (TopUp.Status.VERIFYING, 0)
    assert topup.pk not in reconciling.unfinished()
    grow_older(topup, timedelta(minutes=2))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


@pytest.mark.django_db
def test_a_payer_who_pays_and_never_comes_back_is_credited_by_the_reconciler() -> None:
    topup = started()
    pay(topup)
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.REDIRECTED, 0)
    grow_older(topup, timedelta(minutes=3))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


@pytest.mark.django_db
def test_an_unpaid_top_up_expires_after_half_an_hour_and_not_before() -> None:
    topup = started()
    grow_older(topup, timedelta(minutes=29))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.REDIRECTED, 0)
    grow_older(topup, timedelta(minutes=31))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.EXPIRED, 0)


@pytest.mark.django_db
def test_nothing_expires_before_the_gateway_was_asked_for_the_right_amount(gateway: ScriptedGateway) -> None:
    topup = started()
    grow_older(topup, timedelta(hours=2))
    gateway.answers = [GatewayError("time-out"), Verified("late", False)]
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.REDIRECTED, 0)
    grow_older(topup, timedelta(hours=2))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)
    assert gateway.asked == [(topup.authority, AMOUNT + VAT)] * 2


@pytest.mark.django_db
def test_a_top_up_that_never_got_an_authority_expires(gateway: ScriptedGateway) -> None:
    topup = started()
    TopUp.objects.filter(pk=topup.pk).update(status=TopUp.Status.CREATED, authority=None)
    topups.settle(topup_id=topup.pk)
    assert state(topup) == (TopUp.Status.CREATED, 0)
    grow_older(topup, timedelta(minutes=31))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.EXPIRED, 0)
    assert not gateway.asked


@pytest.mark.django_db
def test_a_gateway_that_answers_that_it_verified_before_is_believed(gateway: ScriptedGateway) -> None:
    topup = started()
    gateway.answers = [Verified("again", True)]
    come_back(topup)
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


@pytest.mark.django_db
@pytest.mark.parametrize("status", [TopUp.Status.FAILED, TopUp.Status.EXPIRED])
def test_a_late_payment_is_credited_when_its_payer_comes_back(gateway: ScriptedGateway, status: str) -> None:
    topup = started()
    TopUp.objects.filter(pk=topup.pk).update(status=status)
    gateway.answers = [NotPaid(), Pending(), GatewayError("time-out"), Verified("late", False)]
    for then in (TopUp.Status.FAILED, TopUp.Status.RETURNED, TopUp.Status.RETURNED):
        come_back(topup)
        assert state(topup) == (then, 0)
    come_back(topup)
    assert state(topup) == (TopUp.Status.CREDITED, AMOUNT)


@pytest.mark.django_db
@pytest.mark.parametrize("status", [TopUp.Status.FAILED, TopUp.Status.EXPIRED])
def test_an_old_top_up_that_was_not_paid_bothers_nobody_when_the_gateway_is_away(
    gateway: ScriptedGateway, status: str
) -> None:
    topup = started()
    TopUp.objects.filter(pk=topup.pk).update(status=status)
    grow_older(topup, timedelta(days=2))
    gateway.answers = [GatewayError("time-out")]
    come_back(topup)
    assert state(topup) == (status, 0)


@pytest.mark.django_db
def test_a_wrong_amount_goes_to_review_and_stays_there(gateway: ScriptedGateway) -> None:
    topup = started()
    gateway.answers = [AmountDiffers("half of it"), Verified("whole", False)]
    for _ in range(2):
        come_back(topup)
        assert state(topup) == (TopUp.Status.REVIEW, 0)
    assert len(gateway.answers) == 1


@pytest.mark.django_db
def test_one_payment_is_never_credited_to_two_top_ups(gateway: ScriptedGateway) -> None:
    first, gateway.starts = started(), Started(uuid4().hex, "/pay")
    second = started()
    gateway.answers = [Verified("the same", False)] * 2
    come_back(first)
    come_back(second)
    assert state(first) == (TopUp.Status.CREDITED, AMOUNT)
    assert state(second) == (TopUp.Status.REVIEW, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "then"),
    [(Pending(), TopUp.Status.EXPIRED), (GatewayError("time-out"), TopUp.Status.REVIEW)],
)
def test_after_a_day_what_stays_unpaid_expires_and_what_nobody_knows_goes_to_review(
    gateway: ScriptedGateway, answer: Verification, then: str
) -> None:
    topup = started()
    gateway.answers = [answer] * 3
    come_back(topup)
    assert state(topup) == (TopUp.Status.RETURNED, 0)
    grow_older(topup, timedelta(hours=23))
    tasks.settle_returned_topups()
    assert state(topup) == (TopUp.Status.RETURNED, 0)
    tasks.settle_returned_topups()  # it was just asked about, so it rests
    assert len(gateway.answers) == 1
    grow_older(topup, timedelta(days=1, minutes=1))
    tasks.settle_returned_topups()
    assert state(topup) == (then, 0)


@pytest.mark.django_db
def test_one_that_cannot_be_settled_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = started()
    pay(good)
    grow_older(good, timedelta(minutes=3))
    monkeypatch.setattr(reconciling, "unfinished", lambda: [uuid4(), good.pk])  # the first is unknown
    tasks.settle_returned_topups()
    assert state(good) == (TopUp.Status.CREDITED, AMOUNT)
    assert "top-up not settled" in caplog.text


@pytest.mark.django_db
def test_a_gateway_that_will_not_start_leaves_a_failed_top_up(gateway: ScriptedGateway) -> None:
    wallet = WalletFactory.create()
    gateway.starts = GatewayError("time-out")
    with pytest.raises(topups.GatewayUnavailable):
        topups.start(user_id=wallet.pk, amount_micro=AMOUNT, callback_url=callback)
    assert [topup.status for topup in topups.recent(wallet.pk)] == [TopUp.Status.FAILED]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("toman", "allowed"), [(9_999, False), (10_000, True), (90_000, True), (90_001, False)]
)
def test_amounts_outside_the_settings_are_refused(settings: Any, toman: int, allowed: bool) -> None:
    settings.TOPUP_MIN_TOMAN, settings.TOPUP_MAX_TOMAN = 10_000, 90_000
    wallet = WalletFactory.create()
    if allowed:
        started(wallet, amount_micro=micro_from_toman(toman))
    else:
        with pytest.raises(topups.AmountOutOfRange):
            started(wallet, amount_micro=micro_from_toman(toman))
    assert TopUp.objects.filter(user_id=wallet.pk).exists() == allowed


@pytest.mark.django_db
def test_a_day_has_a_limit_of_what_was_paid_and_what_may_still_be(settings: Any) -> None:
    settings.TOPUP_DAILY_MAX_TOMAN = 120_000
    wallet = WalletFactory.create()
    credited, under_way = started(wallet), started(wallet)
    pay(credited)
    come_back(credited)
    with pytest.raises(topups.DailyLimitReached) as refused:
        started(wallet)
    assert refused.value.remaining_micro == micro_from_toman(20_000)
    started(WalletFactory.create())  # each user has a limit of their own
    sandbox.decide(str(under_way.authority), pays=False)
    come_back(under_way)
    assert topups.remaining_today_micro(wallet.pk) == micro_from_toman(70_000)
    started(wallet)


@pytest.mark.django_db
def test_only_so_many_payments_are_started_in_an_hour_and_not_completed(settings: Any) -> None:
    settings.TOPUP_STARTS_PER_HOUR = 3
    wallet = WalletFactory.create()
    first, second, third = (started(wallet) for _ in range(3))
    with pytest.raises(topups.TooManyStarted) as refused:
        started(wallet)
    assert refused.value.retry_at == first.created_at + timedelta(hours=1)
    sandbox.decide(str(second.authority), pays=False)
    come_back(second)
    with pytest.raises(topups.TooManyStarted):  # one that failed was started, too
        started(wallet)
    started(WalletFactory.create())  # each user has a limit of their own
    pay(third)
    come_back(third)
    started(wallet)  # what was completed does not count
    with pytest.raises(topups.TooManyStarted):
        started(wallet)
    TopUp.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(minutes=61))
    started(wallet)
    assert TopUp.objects.filter(user_id=wallet.pk).count() == 5


@pytest.mark.django_db
def test_the_day_of_the_limit_is_tehrans(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TOPUP_DAILY_MAX_TOMAN = 50_000
    topup = started()
    TopUp.objects.filter(pk=topup.pk).update(created_at=datetime(2026, 11, 23, 20, 29, tzinfo=UTC))
    for now, left in ((datetime(2026, 11, 23, 20, 29, 59, tzinfo=UTC), 0), (MIDNIGHT_IN_TEHRAN, 50_000)):
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        assert topups.remaining_today_micro(topup.user_id) == micro_from_toman(left)


def test_the_last_of_a_day_is_taken_once(committed_db: None, settings: Any) -> None:
    settings.TOPUP_DAILY_MAX_TOMAN = 100_000
    wallet = WalletFactory.create()
    refused: list[topups.DailyLimitReached] = []
    barrier = threading.Barrier(6)

    def start() -> None:
        barrier.wait()
        try:
            topups.start(user_id=wallet.pk, amount_micro=AMOUNT, callback_url=callback)
        except topups.DailyLimitReached as error:
            refused.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 4
    assert TopUp.objects.filter(user_id=wallet.pk).count() == 2


@pytest.mark.django_db
def test_nothing_starts_without_a_gateway_or_a_wallet(settings: Any) -> None:
    with pytest.raises(topups.NoWallet):
        topups.start(user_id=UserFactory.create().pk, amount_micro=AMOUNT, callback_url=callback)
    settings.PAYMENT_GATEWAY = "none"
    with pytest.raises(topups.PaymentsNotConfigured):
        started()


@pytest.mark.django_db
def test_play_money_buys_nothing_in_production(settings: Any) -> None:
    settings.SANDBOX = False
    with pytest.raises(ImproperlyConfigured):
        gateways.configured()


@pytest.mark.django_db
def test_a_top_up_of_another_is_unknown() -> None:
    topup = started()
    with pytest.raises(topups.UnknownTopUp):
        topups.get(user_id=UserFactory.create().pk, topup_id=topup.pk)
    with pytest.raises(topups.UnknownTopUp):
        topups.check(user_id=UserFactory.create().pk, topup_id=topup.pk)
    with pytest.raises(topups.UnknownTopUp):
        topups.come_back(topup_id=uuid4(), query={})


@pytest.mark.django_db
def test_a_tier_that_is_reached_is_given_with_the_credit() -> None:
    TierFactory.create(name="earned", min_lifetime_topup_micro=AMOUNT - 1)
    topup = started()
    pay(topup)
    come_back(topup)
    assert Tier.objects.get(users=topup.user_id).name == "earned"


@pytest.mark.django_db
def test_a_payment_into_a_frozen_wallet_waits_for_the_thaw() -> None:
    topup = started()
    pay(topup)
    writer.freeze(wallet_id=topup.user_id, because="a test")
    come_back(topup)
    assert state(topup) == ("returned", 0)
    freezing.unfreeze(wallet_id=topup.user_id)
    topups.settle(topup_id=topup.pk)
    assert state(topup) == ("credited", AMOUNT)


@pytest.mark.django_db
def test_a_top_up_under_review_is_credited_once_its_gateway_says_so_again() -> None:
    topup = started()
    pay(topup)
    TopUp.objects.filter(pk=topup.pk).update(status="review")
    topups.settle(topup_id=topup.pk)
    assert state(topup) == ("review", 0)  # nothing but an admin takes it back
    topups.ask_again(topup_id=topup.pk)
    topups.ask_again(topup_id=topup.pk)
    assert state(topup) == ("credited", AMOUNT)
    assert Invoice.objects.filter(topup_id=topup.pk).count() == 1


@pytest.mark.django_db
def test_a_gateway_taken_out_of_the_settings_keeps_its_top_ups_waiting() -> None:
    topup = started()
    TopUp.objects.filter(pk=topup.pk).update(gateway="gone")
    come_back(topup)
    topups.settle(topup_id=topup.pk)
    assert state(topup) == ("redirected", 0)
