"""A customer's number is changed by two admins, and the old number hears of it."""

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts import approvals, number_changes, opening, phone
from accounts.admin_models import NumberChange
from accounts.models import Session, User
from accounts.sms import sending
from keys import lifecycle, reading
from tests.accounts.people import new_mobile
from tests.admin_browser import admin_browser, staff_browser
from tests.factories import UserFactory
from tests.wallet.test_database_rules import refused_by, sql

pytestmark = pytest.mark.django_db
LIST, ADD = "/admin/accounts/numberchange/", "/admin/accounts/numberchange/add/"


@pytest.fixture
def customer() -> User:
    return opening.open_account(mobile=new_mobile())


def ask(browser: Client, customer: User, new: str, *, reason: str = "lost the SIM card") -> Any:
    typed = {"old": phone.local(customer.mobile), "new": new, "reason": reason}
    return browser.post(ADD, typed, follow=True)


def decide(browser: Client, change: NumberChange, action: str = "approve") -> str:
    chosen = {"action": action, "_selected_action": [str(change.pk)]}
    return browser.post(LIST, chosen, follow=True).content.decode()


def test_the_number_is_read_only_on_the_users_page(customer: User) -> None:
    browser, before = admin_browser(), customer.mobile
    path = f"/admin/accounts/user/{customer.pk}/change/"
    assert 'name="mobile"' not in browser.get(path).content.decode()
    saved = browser.post(path, {"mobile": new_mobile(), "tier": customer.tier_id, "is_active": "on"})
    assert saved.status_code == 302
    customer.refresh_from_db()
    assert customer.mobile == before


def test_a_second_admin_approves_and_the_old_number_is_told(
    customer: User,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[tuple[str, str]] = []

    class Telephone:
        def send_text(self, *, mobile: str, text: str) -> None:
            sent.append((mobile, text))

    monkeypatch.setattr(sending, "provider", Telephone)
    first, second, old, new = admin_browser(), admin_browser(), customer.mobile, new_mobile()
    signed_in = Client()
    signed_in.force_login(customer)
    page = ask(first, customer, new).content.decode()
    assert "second admin" in page
    assert f"{old} → {new}" in page
    change = NumberChange.objects.get(user=customer)
    assert "another admin has to approve it" in decide(first, change)
    customer.refresh_from_db()
    assert customer.mobile == old
    with django_capture_on_commit_callbacks(execute=True):
        assert "1 request was decided." in decide(second, change)
    customer.refresh_from_db()
    assert customer.mobile == new
    assert [text for mobile, text in sent if mobile == old]
    assert not Session.objects.filter(user=customer).exists()
    assert signed_in.get("/keys/").status_code == 302
    assert "already been approved or rejected" in decide(second, change)
    assert LogEntry.objects.get_for_object(customer).filter(changes__has_key="mobile").count() == 2
    assert LogEntry.objects.get_for_object(change).count() == 2


def test_no_key_is_given_out_for_three_days_and_every_page_says_until_when(customer: User) -> None:
    kept = lifecycle.create(user_id=customer.pk, name="laptop")
    change = NumberChange(
        user=customer, new_mobile=new_mobile(), reason="r", requested_by=UserFactory.create()
    )
    number_changes.request(change=change)
    number_changes.approve(change_id=change.pk, admin_id=UserFactory.create().pk)
    customer.refresh_from_db()
    until = customer.no_new_keys_until
    assert until is not None
    assert timedelta(hours=71) < until - timezone.now() <= timedelta(hours=72)
    browser = Client()
    browser.force_login(customer)
    browser.cookies["hamiran_language"] = "en"
    token = "8f0c2b52-3d8e-4c4e-9e69-2b1c3a1f6a55"
    created = browser.post("/keys/create/", {"name": "mine", "token": token})
    rotated = browser.post(f"/keys/{kept.key_id}/rotate/", {"grace": "0", "token": token})
    playground = browser.post("/playground/session/")
    for answer in (created, rotated, playground):
        assert "no new key is given out" in answer.content.decode()
    assert (created.status_code, rotated.status_code, playground.status_code) == (400, 400, 409)
    with pytest.raises(CommandError, match="no new key before"):
        call_command("issue_key", "--mobile", customer.mobile)
    assert reading.get(user_id=customer.pk, key_id=kept.key_id).state is reading.State.WORKING
    User.objects.filter(pk=customer.pk).update(no_new_keys_until=timezone.now())
    lifecycle.create(user_id=customer.pk, name="mine")


def test_what_cannot_be_changed_is_said_in_the_form(customer: User) -> None:
    browser, other = admin_browser(), UserFactory.create()
    stranger = User(mobile="+989129999999")
    for words, page in (
        ("No account has this number.", ask(browser, stranger, new_mobile())),
        ("Another account has this number.", ask(browser, customer, other.mobile)),
        ("Another account has this number.", ask(browser, customer, customer.mobile)),
        ("not an Iranian mobile number", ask(browser, customer, "021 1234")),
        ("This field is required.", ask(browser, customer, new_mobile(), reason="")),
    ):
        assert words in page.content.decode()
    assert not NumberChange.objects.exists()
    ask(browser, customer, new_mobile())
    assert "is already waiting" in ask(browser, customer, new_mobile()).content.decode()
    assert NumberChange.objects.count() == 1


def test_a_number_that_was_taken_meanwhile_is_refused(customer: User) -> None:
    new = new_mobile()
    ask(admin_browser(), customer, new)
    opening.open_account(mobile=new)
    change = NumberChange.objects.get()
    assert "Another account has this number." in decide(admin_browser(), change)
    assert NumberChange.objects.get().state == "pending"


def test_a_change_is_rejected_once(customer: User) -> None:
    before = customer.mobile
    ask(admin_browser(), customer, new_mobile())
    change, browser = NumberChange.objects.get(), admin_browser()
    assert "1 request was decided." in decide(browser, change, "reject")
    assert "already been approved or rejected" in decide(browser, change)
    customer.refresh_from_db()
    assert customer.mobile == before


def test_an_admin_with_fresh_rights_cannot_approve_it(customer: User) -> None:
    ask(admin_browser(), customer, new_mobile())
    new = UserFactory.create(is_staff=True, is_superuser=True, empowered_at=timezone.now())
    browser, change = admin_browser(new), NumberChange.objects.get()
    assert "within the last 48 hours" in decide(browser, change)
    browser.cookies["hamiran_language"] = "fa"
    decide(browser, change)
    assert NumberChange.objects.get().state == "pending"


def test_who_may_only_ask_does_not_approve_and_staff_are_left_alone(customer: User) -> None:
    clerk = staff_browser("add_numberchange", "view_numberchange", "approve_numberchange")
    boss = UserFactory.create(is_staff=True)
    assert "only a superuser can act on it" in ask(clerk, boss, new_mobile()).content.decode()
    ask(admin_browser(), boss, new_mobile())
    change = NumberChange.objects.get()
    assert "only a superuser can act on it" in decide(clerk, change)
    ask(admin_browser(), customer, new_mobile())
    asker = staff_browser("add_numberchange", "view_numberchange")
    decide(asker, NumberChange.objects.get(user=customer))
    assert set(NumberChange.objects.values_list("state", flat=True)) == {"pending"}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"new_mobile": "+12025550100"}, "number_change_iranian"),
        ({"new_mobile": "+989121111111", "old_mobile": "+989121111111"}, "number_change_changes"),
        ({"reason": ""}, "number_change_has_reason"),
        ({"state": "done", "decided_at": "now", "approved_by": "self"}, "number_change_two_people"),
        ({"state": "done", "decided_at": "now"}, "number_change_state_fits"),
        ({"approved_by": "other"}, "number_change_state_fits"),
        ({"state": "rejected"}, "number_change_state_fits"),
    ],
)
def test_a_bad_change_is_refused_by_the_database(customer: User, changes: dict[str, Any], rule: str) -> None:
    asker = UserFactory.create()
    people = {"self": asker, "other": UserFactory.create()}
    fields = {"old_mobile": customer.mobile, "new_mobile": new_mobile(), "reason": "r", **changes}
    if "approved_by" in fields:
        fields["approved_by"] = people[fields["approved_by"]]
    if "decided_at" in fields:
        fields["decided_at"] = timezone.now()
    change = NumberChange(user=customer, requested_by=asker, **fields)
    assert refused_by(lambda: change.save(force_insert=True)) == rule


def test_what_was_asked_is_never_changed_and_one_waits_at_a_time(customer: User) -> None:
    asker = UserFactory.create()

    def waiting() -> NumberChange:
        return NumberChange(
            user=customer, old_mobile=customer.mobile, new_mobile=new_mobile(), reason="r", requested_by=asker
        )

    change = waiting()
    change.save()
    assert refused_by(lambda: waiting().save()) == "number_change_one_waits"
    for column in ("new_mobile = '+989121112233'", "reason = 'x'", f"user_id = {asker.pk}"):
        statement = f"UPDATE accounts_numberchange SET {column} WHERE id = %s"
        assert refused_by(sql(statement, change.pk)) == "number_change_fixed"
    number_changes.reject(change_id=change.pk)
    with pytest.raises(approvals.AlreadyDecided):
        number_changes.approve(change_id=change.pk, admin_id=UserFactory.create().pk)
    statement = "UPDATE accounts_numberchange SET state = 'pending', decided_at = NULL WHERE id = %s"
    assert refused_by(sql(statement, change.pk)) == "number_change_fixed"
