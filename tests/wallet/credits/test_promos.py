import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import approvals
from accounts.models import User
from tests.admin_browser import admin_browser
from tests.factories import UserFactory, WalletFactory
from tests.wallet.test_database_rules import refused_by, sql
from wallet import integrity
from wallet.credits import adjustments, promos
from wallet.credits.models import Adjustment, PromoCode, PromoRedemption, PromoTries
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman

NOW = timezone.now()
AMOUNT = micro_from_toman(5_000)


def promo(**changes: Any) -> PromoCode:
    code = uuid4().hex[:10].upper()
    fields = {"code": code, "amount_micro": AMOUNT, "expires_at": NOW + timedelta(days=1), **changes}
    return PromoCode.objects.create(**fields)


def posted(wallet: Wallet) -> int:
    return Wallet.objects.get(pk=wallet.pk).posted_micro


def in_threads(calls: Sequence[Callable[[], str]]) -> list[str]:
    outcomes: list[str] = []
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], str]) -> None:
        barrier.wait()
        try:
            outcomes.append(call())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


def outcome(wallet: Wallet, code: str) -> str:
    try:
        promos.redeem(user_id=wallet.pk, typed=code)
    except (promos.UsedUp, promos.AlreadyRedeemed) as error:
        return type(error).__name__
    return "credited"


@pytest.mark.django_db
def test_a_code_gives_its_credit_as_a_gift_however_it_is_typed() -> None:
    wallet = WalletFactory.create()
    given = promo(code="SPRING-1405")
    assert promos.redeem(user_id=wallet.pk, typed=" spring-۱۴۰۵ ") == AMOUNT
    redemption = PromoRedemption.objects.get(wallet=wallet)
    legs = JournalEntry.objects.filter(transaction_id=redemption.pk).order_by("id")
    assert [(leg.kind, leg.account, leg.amount_micro) for leg in legs] == [
        ("promo", "wallet", AMOUNT),
        ("promo", "gift", -AMOUNT),
    ]
    given.refresh_from_db()
    assert given.uses == 1


@pytest.mark.django_db
def test_what_cannot_be_redeemed_says_why_and_gives_nothing() -> None:
    wallet, other = WalletFactory.create_batch(2)
    used, single = promo(), promo(max_uses=1)
    promos.redeem(user_id=wallet.pk, typed=used.code)
    promos.redeem(user_id=other.pk, typed=single.code)
    for code, refusal in (
        (uuid4().hex, promos.UnknownCode),
        (used.code, promos.AlreadyRedeemed),
        (promo(expires_at=NOW).code, promos.Expired),
        (single.code, promos.UsedUp),
    ):
        with pytest.raises(refusal):
            promos.redeem(user_id=wallet.pk, typed=code)
    with pytest.raises(promos.AlreadyRedeemed):  # rather than that others used it up
        promos.redeem(user_id=other.pk, typed=single.code)
    assert (posted(wallet), posted(other)) == (AMOUNT, AMOUNT)


def test_of_many_at_once_only_as_many_get_it_as_are_left(committed_db: None) -> None:
    wallets, given = WalletFactory.create_batch(8), promo(max_uses=3)
    calls = [partial(outcome, wallet, given.code) for wallet in wallets]
    assert in_threads(calls) == ["UsedUp"] * 5 + ["credited"] * 3
    assert sum(posted(wallet) for wallet in wallets) == 3 * AMOUNT
    given.refresh_from_db()
    assert given.uses == 3


def test_one_user_gets_it_once_however_often_at_once(committed_db: None) -> None:
    wallet, given = WalletFactory.create(), promo()
    assert in_threads([lambda: outcome(wallet, given.code)] * 6) == ["AlreadyRedeemed"] * 5 + ["credited"]
    assert posted(wallet) == AMOUNT


@pytest.mark.django_db
def test_guessing_ends_after_ten_tries_and_begins_anew_after_an_hour() -> None:
    wallet, given = WalletFactory.create(), promo()
    for n in range(10):
        with pytest.raises(promos.UnknownCode):
            promos.redeem(user_id=wallet.pk, typed="guess", now=NOW + timedelta(minutes=n))
    with pytest.raises(promos.TooManyTries) as refusal:
        promos.redeem(user_id=wallet.pk, typed=given.code, now=NOW + timedelta(minutes=50))
    assert refusal.value.wait_seconds == 600
    assert promos.redeem(user_id=wallet.pk, typed=given.code, now=NOW + timedelta(minutes=60)) == AMOUNT
    assert PromoTries.objects.get(pk=wallet.pk).tries == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"code": ""}, "promo_code_not_empty"),
        ({"code": "small"}, "promo_code_in_capitals"),
        ({"amount_micro": 0}, "promo_amount_positive"),
        ({"max_uses": 1, "uses": 2}, "promo_not_used_up"),
        ({"requested_by": "admin", "approved_by": "admin"}, "promo_two_people"),
    ],
)
def test_a_bad_code_is_refused(changes: dict[str, Any], rule: str) -> None:
    admin = UserFactory.create()
    changes = {name: admin if value == "admin" else value for name, value in changes.items()}
    assert refused_by(lambda: promo(**changes)) == rule


@pytest.mark.django_db
def test_the_database_keeps_codes_and_uses_single_and_as_they_were() -> None:
    wallet, given = WalletFactory.create(), promo()
    assert refused_by(lambda: promo(code=given.code)) == "promo_code_once"
    promos.redeem(user_id=wallet.pk, typed=given.code)
    again = PromoRedemption(promo_code=given, wallet=wallet, amount_micro=1)
    assert refused_by(again.save) == "promo_once_a_user"
    free = PromoRedemption(promo_code=promo(), wallet=wallet, amount_micro=0)
    assert refused_by(free.save) == "redemption_amount_positive"
    assert refused_by(sql("UPDATE wallet_promoredemption SET amount_micro = 1")) == "redemption_append_only"
    assert refused_by(sql("DELETE FROM wallet_promoredemption")) == "redemption_append_only"


@pytest.mark.django_db
def test_the_ledger_check_finds_a_use_without_credit_and_a_wrong_count() -> None:
    wallet, given = WalletFactory.create(), promo()
    promos.redeem(user_id=wallet.pk, typed=given.code)

    def reported(text: str) -> bool:
        return any(text in finding.detail.split(", ") for finding in integrity.run(integrity.CHECKS))

    assert not reported(f"promo_code_id={given.pk}")
    unpaid = PromoRedemption.objects.create(promo_code=given, wallet=WalletFactory.create(), amount_micro=5)
    assert reported(f"redemption_id={unpaid.pk}")
    assert reported(f"promo_code_id={given.pk}")


def asked(admin: User, *, max_uses: int | None, amount_micro: int = AMOUNT) -> PromoCode:
    code = uuid4().hex[:10].upper()
    made = PromoCode(
        code=code, amount_micro=amount_micro, max_uses=max_uses, expires_at=NOW + timedelta(days=1)
    )
    promos.make(promo=made, admin_id=admin.pk)
    return PromoCode.objects.get(pk=made.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(("max_uses", "waits"), [(0, False), (200, False), (201, True), (None, True)])
def test_a_code_worth_more_than_the_limit_waits_for_a_second_admin(max_uses: int | None, waits: bool) -> None:
    assert asked(UserFactory.create(), max_uses=max_uses).waits == waits


@pytest.mark.django_db
def test_a_code_that_waits_gives_nothing_before_another_admin_approves_it() -> None:
    wallet, (admin, other) = WalletFactory.create(), UserFactory.create_batch(2)
    given = asked(admin, max_uses=None)
    with pytest.raises(promos.UnknownCode):
        promos.redeem(user_id=wallet.pk, typed=given.code)
    with pytest.raises(approvals.NeedsSecondAdmin):
        promos.approve(promo_code_id=given.pk, admin_id=admin.pk)
    promos.approve(promo_code_id=given.pk, admin_id=other.pk)
    with pytest.raises(approvals.AlreadyDecided):
        promos.approve(promo_code_id=given.pk, admin_id=other.pk)
    assert promos.redeem(user_id=wallet.pk, typed=given.code) == AMOUNT


@pytest.mark.django_db
def test_many_small_codes_and_adjustments_of_one_admin_count_together() -> None:
    admin, wallet = UserFactory.create(), WalletFactory.create()
    assert not asked(admin, max_uses=100).waits
    gift = Adjustment(wallet=wallet, kind="gift", amount_micro=100 * AMOUNT, reason="r", requested_by=admin)
    adjustments.request(adjustment=gift)
    assert gift.state == "booked"
    assert asked(admin, max_uses=1).waits
    assert not asked(UserFactory.create(), max_uses=1).waits
    PromoCode.objects.filter(requested_by=admin).update(requested_at=NOW - timedelta(hours=25))
    assert not asked(admin, max_uses=100).waits


@pytest.mark.django_db
def test_raising_how_often_it_may_be_used_is_asking_anew_and_lowering_is_not() -> None:
    admin, other = UserFactory.create_batch(2)
    given = asked(admin, max_uses=150)

    def changed(by: User, max_uses: int | None) -> PromoCode:
        given.max_uses = max_uses
        promos.change(promo=given, admin_id=by.pk)
        given.refresh_from_db()
        return given

    assert not changed(admin, 200).waits  # counted once
    assert changed(other, 201).waits
    assert given.requested_by == other
    promos.approve(promo_code_id=given.pk, admin_id=admin.pk)
    assert not changed(other, 180).waits
    assert given.approved_by == admin
    assert changed(other, None).waits


@pytest.mark.django_db
def test_a_change_forgets_no_use_that_came_in_meanwhile() -> None:
    wallet, given = WalletFactory.create(), promo(max_uses=5)
    promos.redeem(user_id=wallet.pk, typed=given.code)
    given.max_uses = 4  # `given` was read before
    promos.change(promo=given, admin_id=UserFactory.create().pk)
    given.refresh_from_db()
    assert (given.uses, given.max_uses) == (1, 4)


# --- pages


def browser_of(wallet: Wallet) -> Client:
    browser = Client()
    browser.force_login(wallet.user)
    browser.cookies["hamiran_language"] = "en"
    return browser


@pytest.mark.django_db
def test_the_wallet_page_redeems_and_explains() -> None:
    wallet, given = WalletFactory.create(), promo()
    browser = browser_of(wallet)

    def answer(code: str) -> str:
        return browser.post(reverse("wallet:redeem"), {"code": code}, follow=True).text

    assert "5,000 Toman has been added to your wallet." in answer(given.code.lower())
    assert "already used this promo code" in answer(given.code)
    assert "no such promo code" in answer("nothing")
    assert "Enter a promo code." in answer("")
    assert "has expired" in answer(promo(expires_at=NOW).code)
    assert "used up by others" in answer(promo(max_uses=0).code)
    writer.freeze(wallet_id=wallet.pk, because="a test")
    assert "is being checked" in answer(promo().code)
    PromoTries.objects.update(tries=10)
    assert "again in 60 minutes" in answer(given.code)
    assert posted(wallet) == AMOUNT
    assert "promo code" in browser.get("/wallet/statement/").text


@pytest.mark.django_db
def test_an_account_without_a_wallet_is_told_so() -> None:
    given = promo()
    browser = Client()
    browser.force_login(UserFactory.create())
    browser.cookies["hamiran_language"] = "en"
    page = browser.post(reverse("wallet:redeem"), {"code": given.code}, follow=True).text
    assert "no wallet" in page
    given.refresh_from_db()
    assert given.uses == 0


@pytest.mark.django_db
def test_admins_make_codes_and_end_them_but_never_remove_them() -> None:
    browser = admin_browser()
    typed = {
        "code": "nowruz ۵",
        "amount": "5,000",
        "max_uses": "",
        "expires_at_0": "2027-01-01",
        "expires_at_1": "00:00",
    }
    assert browser.post(reverse("admin:wallet_promocode_add"), typed).status_code == 302
    made = PromoCode.objects.get(code="NOWRUZ5")
    assert made.amount_micro == AMOUNT
    assert LogEntry.objects.get_for_object(made).exists()
    assert "There is such a code already" in browser.post(reverse("admin:wallet_promocode_add"), typed).text
    nothing = browser.post(reverse("admin:wallet_promocode_add"), {**typed, "code": "x", "amount": "0"}).text
    assert "worth something" in nothing
    change = reverse("admin:wallet_promocode_change", args=[made.pk])
    changed = {"code": "OTHER", "max_uses": "7", "expires_at_0": "2026-12-01", "expires_at_1": "00:00"}
    assert browser.post(change, changed).status_code == 302
    made.refresh_from_db()
    assert (made.code, made.max_uses) == ("NOWRUZ5", 7)
    assert browser.post(reverse("admin:wallet_promocode_delete", args=[made.pk])).status_code == 403


@pytest.mark.django_db
def test_it_cannot_be_limited_to_less_than_it_was_used() -> None:
    given = promo(max_uses=9)
    for wallet in WalletFactory.create_batch(2):
        promos.redeem(user_id=wallet.pk, typed=given.code)
    change = reverse("admin:wallet_promocode_change", args=[given.pk])
    typed = {"expires_at_0": "2027-01-01", "expires_at_1": "00:00"}
    browser = admin_browser()
    assert "It has been used 2 times already" in browser.post(change, {**typed, "max_uses": "1"}).text
    assert browser.post(change, {**typed, "max_uses": "2"}).status_code == 302
    given.refresh_from_db()
    assert given.max_uses == 2


@pytest.mark.django_db
def test_a_second_admin_approves_a_code_in_the_list() -> None:
    first, second = admin_browser(), admin_browser()
    typed = {"code": uuid4().hex[:10].upper(), "max_uses": "201", "amount": "5,000"}
    typed |= {"expires_at_0": "2027-01-01", "expires_at_1": "00:00"}
    too_large = {**typed, "amount": "999999999999"}
    assert "too large" in first.post(reverse("admin:wallet_promocode_add"), too_large).text
    page = first.post(reverse("admin:wallet_promocode_add"), typed, follow=True).text
    assert "This code waits for the approval of a second admin." in page
    made = PromoCode.objects.get(code=typed["code"])
    chosen = {"action": "approve", "_selected_action": [str(made.pk)]}
    codes = reverse("admin:wallet_promocode_changelist")
    assert "another admin has to approve it" in first.post(codes, chosen, follow=True).text
    assert PromoCode.objects.get(pk=made.pk).waits
    assert "It can be used now." in second.post(codes, chosen, follow=True).text
    assert not PromoCode.objects.get(pk=made.pk).waits
    assert "It needs no approval." in second.post(codes, chosen, follow=True).text
    assert LogEntry.objects.get_for_object(made).count() == 2


@pytest.mark.django_db
def test_who_may_not_approve_adjustments_approves_no_code_either() -> None:
    given = asked(UserFactory.create(), max_uses=None)
    browser = admin_browser()
    clerk = User.objects.get(pk=int(browser.session["_auth_user_id"]))
    clerk.is_superuser = False
    clerk.save()
    clerk.user_permissions.add(*Permission.objects.filter(codename__endswith="_promocode"))
    chosen = {"action": "approve", "_selected_action": [str(given.pk)]}
    browser.post(reverse("admin:wallet_promocode_changelist"), chosen)
    assert PromoCode.objects.get(pk=given.pk).waits


@pytest.mark.django_db
def test_no_rule_of_promo_codes_is_without_a_test_here() -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    rules = [rule.name for model in (PromoCode, PromoRedemption) for rule in model._meta.constraints]
    assert [name for name in rules if f'"{name}"' not in text] == []
