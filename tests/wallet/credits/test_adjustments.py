import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts import approvals
from accounts.models import User
from accounts.sms import sending
from tests.admin_browser import admin_browser, staff_browser
from tests.factories import UserFactory, WalletFactory
from tests.wallet.test_database_rules import refused_by, sql
from wallet import integrity
from wallet.credits import adjustments
from wallet.credits.models import Adjustment
from wallet.ledger import writer
from wallet.ledger.models import JournalEntry, Wallet
from wallet.money import micro_from_toman

CREDIT = micro_from_toman(5_000_000)
SMALL, LARGE = micro_from_toman(1_000_000), micro_from_toman(1_000_000) + 1
LIST = reverse("admin:wallet_adjustment_changelist")
ADD = reverse("admin:wallet_adjustment_add")


def asked(
    wallet: Wallet, *, kind: str = "refund", amount_micro: int = -LARGE, by: User | None = None
) -> Adjustment:
    adjustment = Adjustment(
        wallet=wallet,
        kind=kind,
        amount_micro=amount_micro,
        reason="asked by telephone",
        requested_by=by or UserFactory.create(is_staff=True),
    )
    adjustments.request(adjustment=adjustment)
    return adjustment


def posted(wallet: Wallet) -> int:
    return Wallet.objects.get(pk=wallet.pk).posted_micro


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "amount_micro", "account"),
    [
        ("refund", -SMALL, "refund"),
        ("correction", -5, "correction"),
        ("correction", 5, "correction"),
        ("gift", SMALL, "gift"),
    ],
)
def test_a_small_one_is_booked_at_once_under_its_own_id(kind: str, amount_micro: int, account: str) -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    adjustment = asked(wallet, kind=kind, amount_micro=amount_micro)
    assert (adjustment.state, adjustment.approved_by_id) == ("booked", None)
    assert posted(wallet) == CREDIT + amount_micro
    legs = JournalEntry.objects.filter(transaction_id=adjustment.pk).order_by("id")
    assert [(leg.kind, leg.account, leg.amount_micro) for leg in legs] == [
        (kind, "wallet", amount_micro),
        (kind, account, -amount_micro),
    ]


@pytest.mark.django_db
def test_a_large_one_waits_for_another_admin() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    adjustment = asked(wallet)
    assert (adjustment.state, posted(wallet)) == ("pending", CREDIT)
    with pytest.raises(approvals.NeedsSecondAdmin):
        adjustments.approve(adjustment_id=adjustment.pk, admin_id=adjustment.requested_by_id)
    other = UserFactory.create(is_staff=True)
    adjustments.approve(adjustment_id=adjustment.pk, admin_id=other.pk)
    adjustment.refresh_from_db()
    assert (adjustment.state, adjustment.approved_by_id, posted(wallet)) == (
        "booked",
        other.pk,
        CREDIT - LARGE,
    )
    for decide in (
        lambda: adjustments.approve(adjustment_id=adjustment.pk, admin_id=other.pk),
        lambda: adjustments.reject(adjustment_id=adjustment.pk),
    ):
        with pytest.raises(approvals.AlreadyDecided):
            decide()
    assert posted(wallet) == CREDIT - LARGE


@pytest.mark.django_db
def test_many_small_ones_by_one_admin_wait_when_their_sum_is_large() -> None:
    admin, other = UserFactory.create_batch(2, is_staff=True)
    wallets = WalletFactory.create_batch(3, credit_micro=CREDIT)
    half = SMALL // 2
    assert asked(wallets[0], amount_micro=-half, by=admin).state == "booked"
    assert asked(wallets[1], kind="gift", amount_micro=half, by=admin).state == "booked"
    large = asked(wallets[2], amount_micro=-1, by=admin)
    assert large.state == "pending"
    assert asked(wallets[2], amount_micro=-1, by=other).state == "booked"
    adjustments.approve(adjustment_id=large.pk, admin_id=other.pk)
    assert asked(wallets[2], amount_micro=-half, by=other).state == "booked"  # what he approved is not his


@pytest.mark.django_db
def test_what_an_admin_booked_a_day_ago_counts_no_more() -> None:
    admin, wallet = UserFactory.create(is_staff=True), WalletFactory.create(credit_micro=CREDIT)
    for hours, state in ((24, "booked"), (23, "booked"), (0, "pending")):
        adjustment = Adjustment(
            wallet=wallet, kind="refund", amount_micro=-SMALL, reason="r", requested_by=admin,
            created_at=timezone.now() - timedelta(hours=hours),
        )  # fmt: skip
        adjustments.request(adjustment=adjustment)
        assert adjustment.state == state


def test_small_ones_at_once_count_each_other(committed_db: None) -> None:
    admin = UserFactory.create(is_staff=True)
    wallets = WalletFactory.create_batch(6, credit_micro=CREDIT)
    states: list[str] = []
    barrier = threading.Barrier(len(wallets))

    def ask(wallet: Wallet) -> None:
        barrier.wait()
        try:
            states.append(asked(wallet, amount_micro=-SMALL // 2, by=admin).state)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask, args=(wallet,)) for wallet in wallets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["booked"] * 2 + ["pending"] * 4


@pytest.mark.django_db
def test_a_rejected_one_is_never_booked() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    adjustment = asked(wallet)
    adjustments.reject(adjustment_id=adjustment.pk)
    with pytest.raises(approvals.AlreadyDecided):
        adjustments.approve(adjustment_id=adjustment.pk, admin_id=UserFactory.create().pk)
    assert posted(wallet) == CREDIT


@pytest.mark.django_db
def test_a_debit_never_takes_more_than_is_available() -> None:
    wallet = WalletFactory.create(credit_micro=100)
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=60)
    with pytest.raises(writer.NotCovered):
        asked(wallet, amount_micro=-41)
    assert not Adjustment.objects.filter(wallet=wallet).exists()
    adjustment = asked(wallet)
    with pytest.raises(writer.NotCovered):
        adjustments.approve(adjustment_id=adjustment.pk, admin_id=UserFactory.create().pk)
    adjustment.refresh_from_db()
    assert (adjustment.state, posted(wallet)) == ("pending", 100)
    asked(wallet, amount_micro=-40)
    assert posted(wallet) == 60


def test_approvals_at_once_book_once(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    adjustment = asked(wallet)
    admins = UserFactory.create_batch(6)
    outcomes: list[str] = []
    barrier = threading.Barrier(len(admins))

    def approve(admin: User) -> None:
        barrier.wait()
        try:
            adjustments.approve(adjustment_id=adjustment.pk, admin_id=admin.pk)
            outcomes.append("booked")
        except approvals.AlreadyDecided:
            outcomes.append("too late")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=approve, args=(admin,)) for admin in admins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["booked"] + ["too late"] * 5
    assert posted(wallet) == CREDIT - LARGE


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kind": "refund", "amount_micro": 5}, "adjustment_sign_fits_kind"),
        ({"kind": "gift", "amount_micro": -5}, "adjustment_sign_fits_kind"),
        ({"kind": "correction", "amount_micro": 0}, "adjustment_sign_fits_kind"),
        ({"reason": ""}, "adjustment_has_reason"),
        ({"state": "booked", "decided_at": "now", "approved_by": "self"}, "adjustment_two_people"),
        ({"state": "booked", "decided_at": "now"}, "adjustment_approved_if_needed"),
        ({"state": "booked", "approved_by": "other"}, "adjustment_state_fits"),
        ({"state": "rejected"}, "adjustment_state_fits"),
        ({"approved_by": "other"}, "adjustment_state_fits"),
    ],
)
def test_a_bad_adjustment_is_refused(changes: dict[str, Any], rule: str) -> None:
    requester = UserFactory.create()
    people = {"self": requester, "other": UserFactory.create()}
    fields = {"kind": "refund", "amount_micro": -5, "reason": "r", "needs_approval": True, **changes}
    if "approved_by" in fields:
        fields["approved_by"] = people[fields["approved_by"]]
    if "decided_at" in fields:
        fields["decided_at"] = requester.joined_at
    adjustment = Adjustment(wallet=WalletFactory.create(), requested_by=requester, **fields)
    assert refused_by(lambda: adjustment.save(force_insert=True)) == rule


@pytest.mark.django_db
def test_what_was_asked_or_decided_is_never_changed() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    adjustment = asked(wallet)
    for change in ("amount_micro = -1", "reason = 'x'", "needs_approval = false", "kind = 'correction'"):
        statement = f"UPDATE wallet_adjustment SET {change} WHERE id = %s"
        assert refused_by(sql(statement, adjustment.pk)) == "adjustment_fixed"
    adjustments.reject(adjustment_id=adjustment.pk)
    statement = "UPDATE wallet_adjustment SET state = 'pending', decided_at = NULL WHERE id = %s"
    assert refused_by(sql(statement, adjustment.pk)) == "adjustment_fixed"
    assert refused_by(sql("DELETE FROM wallet_adjustment WHERE id = %s", adjustment.pk)) == "adjustment_fixed"


@pytest.mark.django_db
def test_the_ledger_check_finds_an_adjustment_that_the_journal_does_not_match() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    right = asked(wallet, amount_micro=-5)

    def reported(adjustment_id: UUID) -> bool:
        return any(str(adjustment_id) in finding.detail for finding in integrity.run(integrity.CHECKS))

    assert not reported(right.pk)
    unbooked = Adjustment.objects.create(
        wallet=wallet, kind="gift", amount_micro=5, reason="r", needs_approval=False, state="booked",
        requested_by=UserFactory.create(), decided_at=right.decided_at,
    )  # fmt: skip
    assert reported(unbooked.pk)
    loose = uuid4()
    writer.post(
        transaction_id=loose,
        kind=JournalEntry.Kind.REFUND,
        wallet_id=wallet.pk,
        amount_micro=-5,
        counter_account=JournalEntry.Account.REFUND,
    )
    assert reported(loose)


# --- admin


def fill_in(browser: Client, wallet: Wallet, **changes: str) -> Any:
    typed = {"mobile": wallet.user.mobile, "kind": "refund", "amount": "-1,000", "reason": "by telephone"}
    return browser.post(ADD, {**typed, **changes}, follow=True)


@pytest.mark.django_db
def test_an_admin_refunds_and_it_is_in_the_audit_log() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    browser = admin_browser()
    assert fill_in(browser, wallet, mobile="0" + wallet.user.mobile[3:], amount="-۱٬۰۰۰").status_code == 200
    adjustment = Adjustment.objects.get(wallet=wallet)
    assert (adjustment.state, posted(wallet)) == ("booked", CREDIT - micro_from_toman(1_000))
    entry = LogEntry.objects.get_for_object(adjustment).earliest("id")
    assert entry.actor == adjustment.requested_by
    change = reverse("admin:wallet_adjustment_change", args=[adjustment.pk])
    assert "-1,000 Toman" in browser.get(change).text
    assert browser.post(change, {"reason": "x"}).status_code == 403
    assert browser.post(reverse("admin:wallet_adjustment_delete", args=[adjustment.pk])).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": "-6,000,000"}, "Only 5,000,000 Toman is available in this wallet."),
        ({"amount": "999999999999", "kind": "gift"}, "This amount is too large."),
        ({"amount": "+-5"}, "Enter the amount as a whole number of Toman"),
        ({"amount": "5"}, "A refund is below zero"),
        ({"amount": "-5", "kind": "gift"}, "A refund is below zero"),
        ({"amount": "0", "kind": "correction"}, "A refund is below zero"),
        ({"reason": ""}, "required"),
        ({"mobile": "09120009999"}, "No wallet belongs to this number."),
        ({"mobile": "x"}, "not an Iranian mobile number"),
    ],
)
def test_what_cannot_be_booked_is_said_in_the_form(changes: dict[str, str], words: str) -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    assert words in fill_in(admin_browser(), wallet, **changes).text
    assert not Adjustment.objects.filter(wallet=wallet).exists()


@pytest.mark.django_db
def test_money_that_was_spent_since_the_form_looked_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)

    def refuse(**arguments: Any) -> int:
        raise writer.NotCovered(wallet.pk)

    monkeypatch.setattr(writer, "post", refuse)
    assert "nothing was booked" in fill_in(admin_browser(), wallet).text
    assert not Adjustment.objects.filter(wallet=wallet).exists()


@pytest.mark.django_db
def test_nothing_is_booked_on_a_frozen_wallet() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    waiting = asked(wallet)
    writer.freeze(wallet_id=wallet.pk, because="a test")
    browser = admin_browser()
    assert "This wallet is frozen" in fill_in(browser, wallet).text
    chosen = {"action": "approve", "_selected_action": [str(waiting.pk)]}
    assert "This wallet is frozen" in browser.post(LIST, chosen, follow=True).text
    assert posted(wallet) == CREDIT
    assert Adjustment.objects.get(wallet=wallet).state == "pending"


@pytest.mark.django_db
def test_a_second_admin_approves_in_the_list() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    first, second = admin_browser(), admin_browser()
    assert "second admin" in fill_in(first, wallet, amount="-2,000,000").text
    adjustment = Adjustment.objects.get(wallet=wallet)
    chosen = {"action": "approve", "_selected_action": [str(adjustment.pk)]}
    assert "another admin has to approve it" in first.post(LIST, chosen, follow=True).text
    assert posted(wallet) == CREDIT
    assert "1 adjustment was decided." in second.post(LIST, chosen, follow=True).text
    assert posted(wallet) == CREDIT - micro_from_toman(2_000_000)
    assert "already been booked or rejected" in second.post(LIST, chosen, follow=True).text
    assert LogEntry.objects.get_for_object(adjustment).count() == 2


@pytest.mark.django_db
def test_who_may_only_look_neither_asks_nor_approves() -> None:
    browser = admin_browser()
    clerk = User.objects.get(pk=int(browser.session["_auth_user_id"]))
    clerk.is_superuser = False
    clerk.save()
    clerk.user_permissions.add(Permission.objects.get(codename="view_adjustment"))
    wallet = WalletFactory.create(credit_micro=CREDIT)
    adjustment = asked(wallet)
    assert browser.get(LIST).status_code == 200
    assert browser.get(ADD).status_code == 403
    chosen = {"action": "approve", "_selected_action": [str(adjustment.pk)]}
    browser.post(LIST, chosen, follow=True)
    assert posted(wallet) == CREDIT
    clerk.user_permissions.add(Permission.objects.get(codename="approve_adjustment"))
    browser.post(LIST, chosen, follow=True)
    assert posted(wallet) == CREDIT - LARGE


@pytest.mark.django_db
def test_an_admin_with_fresh_rights_works_alone_and_approves_nothing() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT)
    new = UserFactory.create(is_staff=True, is_superuser=True, empowered_at=timezone.now())
    browser, waiting = admin_browser(new), asked(wallet)
    with pytest.raises(approvals.TooNew):
        adjustments.approve(adjustment_id=waiting.pk, admin_id=new.pk)
    chosen = {"action": "approve", "_selected_action": [str(waiting.pk)]}
    assert "within the last 48 hours" in browser.post(LIST, chosen, follow=True).text
    assert posted(wallet) == CREDIT
    fill_in(browser, wallet)
    assert posted(wallet) == CREDIT - micro_from_toman(1_000)
    User.objects.filter(pk=new.pk).update(empowered_at=timezone.now() - timedelta(hours=49))
    assert "1 adjustment was decided." in browser.post(LIST, chosen, follow=True).text


@pytest.mark.django_db
def test_staff_touch_no_wallet_of_staff() -> None:
    wallet = WalletFactory.create(credit_micro=CREDIT, user=UserFactory.create(is_staff=True))
    clerk = staff_browser("add_adjustment", "view_adjustment", "approve_adjustment")
    assert "only a superuser can act on it" in fill_in(clerk, wallet).text
    waiting = asked(wallet)
    for action in ("approve", "reject"):
        chosen = {"action": action, "_selected_action": [str(waiting.pk)]}
        assert "only a superuser can act on it" in clerk.post(LIST, chosen, follow=True).text
    assert Adjustment.objects.get(pk=waiting.pk).state == "pending"
    fill_in(admin_browser(), wallet)
    assert posted(wallet) == CREDIT - micro_from_toman(1_000)


@pytest.mark.django_db
def test_all_admins_hear_of_an_approval(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    sent: dict[str, str] = {}

    class Telephone:
        def send_text(self, *, mobile: str, text: str) -> None:
            sent[mobile] = text

    monkeypatch.setattr(sending, "provider", Telephone)
    waiting, other = asked(WalletFactory.create(credit_micro=CREDIT)), UserFactory.create(is_staff=True)
    with django_capture_on_commit_callbacks(execute=True):
        adjustments.approve(adjustment_id=waiting.pk, admin_id=other.pk)
    assert set(sent) >= {other.mobile, waiting.requested_by.mobile}
    assert "۱٬۰۰۰٬۰۰۰" in sent[other.mobile]


@pytest.mark.django_db
def test_no_rule_of_adjustments_is_without_a_test_here() -> None:
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    assert [rule.name for rule in Adjustment._meta.constraints if f'"{rule.name}"' not in text] == []
