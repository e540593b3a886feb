"""Blocking an account with a reason, and the notes that tell of it."""

import pytest
from django.test import Client

from accounts import blocking
from accounts.models import Session, User
from accounts.note_models import UserNote
from tests.admin_browser import admin_browser, staff_browser
from tests.factories import UserFactory
from tests.wallet.test_database_rules import refused_by, sql

pytestmark = pytest.mark.django_db


def path(user: User, act: str) -> str:
    return f"/admin/accounts/user/{user.pk}/{act}/"


def signed_in() -> User:
    user: User = UserFactory.create()
    Client().force_login(user)
    return user


def test_support_blocks_with_a_reason_and_unblocks_with_another() -> None:
    user, browser = signed_in(), staff_browser("view_user", "block_user")
    assert browser.post(path(user, "block"), {"words": " chargebacks "}).status_code == 302
    user.refresh_from_db()
    assert not user.is_active
    assert not Session.objects.filter(user=user).exists()
    browser.post(path(user, "unblock"), {"words": "settled"})
    user.refresh_from_db()
    assert user.is_active
    notes = UserNote.objects.filter(user=user).order_by("id").values_list("kind", "text", "author")
    author = int(browser.session["_auth_user_id"])
    assert list(notes) == [("blocked", "chargebacks", author), ("unblocked", "settled", author)]


def test_blocking_twice_is_blocking_once() -> None:
    user, author = signed_in(), UserFactory.create()
    done = [blocking.block(user_id=user.pk, author_id=author.pk, reason="x") for _ in range(2)]
    assert (done, UserNote.objects.filter(user=user).count()) == ([True, False], 1)
    done = [blocking.unblock(user_id=user.pk, author_id=author.pk, reason="x") for _ in range(2)]
    assert (done, UserNote.objects.filter(user=user).count()) == ([True, False], 2)


@pytest.mark.parametrize("words", ["", "   ", "x" * 2_001, "a\0b"])
def test_without_a_reason_that_can_be_kept_nothing_is_done(words: str) -> None:
    user, browser = signed_in(), admin_browser()
    answer = browser.post(path(user, "block"), {"words": words}, follow=True)
    assert "Nothing was done" in answer.text
    user.refresh_from_db()
    assert user.is_active
    assert not UserNote.objects.exists()


@pytest.mark.parametrize(
    ("act", "permission"),
    [
        ("block", "block_user"),
        ("unblock", "block_user"),
        ("signout", "end_user_sessions"),
        ("note", "add_usernote"),
    ],
)
def test_each_button_needs_its_right_and_a_post(act: str, permission: str) -> None:
    user = signed_in()
    words = {"words": "why"}
    assert staff_browser("view_user", "change_user").post(path(user, act), words).status_code == 403
    assert staff_browser(permission).post(path(user, act), words).status_code == 403  # sees no people
    allowed = staff_browser("view_user", permission)
    assert allowed.post(path(user, act), words).status_code == 302
    assert allowed.get(path(user, act)).status_code == 405
    assert allowed.post("/admin/accounts/user/999999999/" + act + "/", words).status_code == 404


def test_only_a_superuser_acts_on_an_admin_but_anybody_notes() -> None:
    colleague = UserFactory.create(is_staff=True)
    browser = staff_browser("view_user", "block_user", "end_user_sessions", "add_usernote")
    for act in ("block", "signout"):
        assert "account of an admin" in browser.post(path(colleague, act), {"words": "x"}, follow=True).text
    browser.post(path(colleague, "note"), {"words": "on leave"})
    colleague.refresh_from_db()
    assert colleague.is_active
    assert UserNote.objects.get(user=colleague).text == "on leave"


def test_an_admin_who_is_unblocked_has_been_given_rights_anew() -> None:
    colleague, browser = UserFactory.create(is_staff=True), admin_browser()
    browser.post(path(colleague, "block"), {"words": "left"})
    colleague.refresh_from_db()
    assert (colleague.is_active, colleague.empowered_at) == (False, None)
    browser.post(path(colleague, "unblock"), {"words": "came back"})
    colleague.refresh_from_db()
    assert colleague.is_active
    assert colleague.empowered_at is not None  # so that they approve nothing for a while


def test_the_form_of_an_account_leaves_blocking_to_the_buttons() -> None:
    user = signed_in()
    fields = {"tier": user.tier_id}  # the tick for active is not there
    assert admin_browser().post(path(user, "change"), fields).status_code == 302
    user.refresh_from_db()
    assert user.is_active


def test_the_database_keeps_notes_as_they_were() -> None:
    user = UserFactory.create()

    assert refused_by(UserNote(user=user, author=user, text="").save) == "usernote_says_something"
    assert refused_by(UserNote(user=user, author=user, text="x", kind="praise").save) == "usernote_kind_known"
    for statement in (
        "UPDATE accounts_usernote SET text = 'y'",
        "DELETE FROM accounts_usernote",
        "TRUNCATE accounts_usernote",
    ):
        assert refused_by(sql(statement)) == "usernote_append_only"
