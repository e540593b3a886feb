"""Pages of admin keys, and of what was done to keys."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from keys import admin_keys, changes, lifecycle, reading
from keys.actors import Actor, Kind
from keys.models import AdminKey, KeyChange
from keys.rules import KeyRules
from keys.secret import has_valid_admin_checksum
from proxy import own_keys
from tests.admin_browser import admin_browser
from tests.factories import UserFactory, WalletFactory
from wallet.money import micro_from_toman

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    user: User = WalletFactory.create().user
    return user


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def filled(browser: Client, **fields: Any) -> dict[str, Any]:
    found = re.search(r'name="token" value="([^"]+)"', browser.get(reverse("keys:admin_create")).text)
    assert found
    return {"name": "terraform", "scopes": ["keys:read"], "life": "never", "token": found[1], **fields}


def make(user: User, **given: Any) -> int:
    given = {
        "name": "terraform",
        "scopes": ["keys:read"],
        "allowed_networks": (),
        "expires_at": None,
        **given,
    }
    by = Actor(Kind.DASHBOARD, user_id=user.pk)
    return admin_keys.create(user_id=user.pk, creation_token=uuid4(), by=by, **given).key_id


@pytest.mark.parametrize("name", ["keys:admin_list", "keys:admin_create", "keys:changes"])
def test_strangers_are_sent_to_sign_in(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("accounts:sign_in"))


def test_the_secret_is_shown_once(browser: Client, user: User) -> None:
    form = filled(browser, scopes=["keys:read", "keys:write"], life="30", allowed_networks="192.0.2.7")
    response = browser.post(reverse("keys:admin_create"), form)
    found = re.search(r"hm-admin-[0-9A-Za-z]{36}", response.text)
    assert found
    assert has_valid_admin_checksum(found[0])
    assert response["Cache-Control"] == "no-store"
    key = AdminKey.objects.get(user=user)
    assert (key.name, key.scopes, key.allowed_networks) == (
        "terraform",
        ["keys:read", "keys:write"],
        ["192.0.2.7/32"],
    )
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=5)
    listed = browser.get(reverse("keys:admin_list")).text
    assert f"hm-admin-…{found[0][-4:]}" in listed
    assert found[0] not in listed
    assert found[0] not in str(dict(browser.session))


def test_sending_the_same_form_again_makes_no_second_key(browser: Client, user: User) -> None:
    form = filled(browser)
    browser.post(reverse("keys:admin_create"), form)
    again = browser.post(reverse("keys:admin_create"), form, follow=True)
    assert again.redirect_chain == [(reverse("keys:admin_list"), 302)]
    assert "its secret is shown only once" in again.text
    assert AdminKey.objects.filter(user=user).count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 81},
        {"scopes": []},
        {"scopes": ["wallet:write"]},
        {"life": "10000"},
        {"allowed_networks": "here"},
        {"token": ""},
    ],
)
def test_what_is_wrong_is_pointed_out_and_makes_no_key(
    browser: Client, user: User, wrong: dict[str, Any]
) -> None:
    response = browser.post(reverse("keys:admin_create"), filled(browser, **wrong))
    assert response.status_code == 400
    assert "field__error" in response.text or "token" in wrong
    assert not AdminKey.objects.filter(user=user).exists()


def test_refusals_are_said_plainly(browser: Client, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> str:
        response = browser.post(reverse("keys:admin_create"), filled(browser))
        assert response.status_code == 400
        return response.text

    make(user)
    monkeypatch.setattr(admin_keys, "MAX_ACTIVE", 1)
    assert "You have 1 active admin keys" in refused()
    assert "You have 1 active admin keys" in browser.get(reverse("keys:admin_list")).text
    monkeypatch.setattr(admin_keys, "MAX_CREATED_A_DAY", 1)
    assert "Try again tomorrow" in refused()
    user.no_new_keys_until = timezone.now() + timedelta(hours=1)
    user.save(update_fields=["no_new_keys_until"])
    assert "no new key is given out" in refused()


def test_an_admin_key_is_revoked_after_a_question(browser: Client, user: User) -> None:
    key = make(user)
    address = reverse("keys:admin_revoke", args=[key])
    assert "Revoke this admin key?" in browser.get(address).text
    assert AdminKey.objects.get(pk=key).revoked_at is None
    response = browser.post(address, follow=True)
    assert response.redirect_chain == [(reverse("keys:admin_list"), 302)]
    assert AdminKey.objects.get(pk=key).revoked_at is not None
    assert "Admin keys that no longer work" in response.text
    assert browser.get(address).status_code == 404
    assert browser.post(address).status_code == 302  # a second click


def test_others_admin_keys_are_not_there(browser: Client) -> None:
    theirs = make(UserFactory.create())
    address = reverse("keys:admin_revoke", args=[theirs])
    assert browser.get(address).status_code == browser.post(address).status_code == 404
    assert AdminKey.objects.get(pk=theirs).revoked_at is None


# --- the log of changes ------------------------------------------------------------------------------------------


def test_every_page_that_changes_a_key_says_who_it_was(browser: Client, user: User) -> None:
    create = reverse("keys:create")

    def token(address: str) -> str:
        found = re.search(r'name="token" value="([^"]+)"', browser.get(address).text)
        assert found
        return found[1]

    browser.post(create, {"name": "shop", "cap": "5", "token": token(create)})
    key = reading.listing(user.pk)[0].key_id
    edit, rotate = reverse("keys:edit", args=[key]), reverse("keys:rotate", args=[key])
    browser.post(edit, {"name": "store", "token": token(edit)})
    browser.post(rotate, {"grace": "0", "token": token(rotate)})
    new = reading.listing(user.pk)[0].key_id
    browser.post(reverse("keys:revoke", args=[new]))
    browser.post(reverse("keys:admin_create"), filled(browser))
    browser.post(reverse("keys:admin_revoke", args=[AdminKey.objects.get(user=user).pk]))
    rows = list(KeyChange.objects.filter(user=user).order_by("pk"))
    done = [f"{row.subject} {row.action}" for row in rows]
    assert done == [
        *("key created", "key changed", "key rotated", "key created", "key revoked"),
        *("admin_key created", "admin_key revoked"),
    ]
    assert {(row.actor, row.actor_user_id, row.address) for row in rows} == {
        ("dashboard", user.pk, "127.0.0.1")
    }
    assert len({row.session for row in rows}) == 1
    assert rows[0].session
    assert rows[1].changes == {"name": ["shop", "store"], "cap_toman": [5, None]}
    assert browser.get(reverse("keys:changes")).text.count("You, in this browser") == 2 * len(rows)


def test_the_page_tells_what_was_changed_by_whom_and_from_where(browser: Client, user: User) -> None:
    admin_key = make(user)
    by = Actor(Kind.ADMIN_KEY, admin_key_id=admin_key, address="192.0.2.44")
    key = lifecycle.create(user_id=user.pk, name="<b>shop</b>").key_id
    own_keys.change(
        user_id=user.pk,
        key_id=key,
        name="<b>shop</b>",
        rules=KeyRules(rpm=1_000, allowed_models=("a", "b")),
        cap_micro=micro_from_toman(50_000),
        by=by,
    )
    page = " ".join(browser.get(reverse("keys:changes")).text.split())
    assert "&lt;b&gt;shop" in page
    assert "Requests per minute: from <bdi>none</bdi> to <bdi>1,000</bdi>" in page
    assert "Models: from <bdi>none</bdi> to <bdi>a, b</bdi>" in page
    assert "Spending cap: from <bdi>none</bdi> to <bdi>50,000 Toman</bdi>" in page
    assert "Admin key “terraform”" in page
    assert "192.0.2.44" in page
    assert "By the operator" in page


def test_what_support_did_is_there_without_its_address(browser: Client, user: User) -> None:
    key = lifecycle.create(user_id=user.pk, name="shop").key_id
    chosen = {"action": "revoke_selected", "_selected_action": [key]}
    admin_browser().post(reverse("admin:keys_apikey_changelist"), chosen)
    revoked = changes.page(user_id=user.pk).rows[0]
    assert (revoked.actor, revoked.action, revoked.address) == ("staff", "revoked", "127.0.0.1")
    page = browser.get(reverse("keys:changes")).text
    assert "By support" in page
    assert ">127.0.0.1<" not in page


def test_the_log_has_pages_and_nobody_elses_changes(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing has been done to keys yet" in browser.get(reverse("keys:changes")).text
    monkeypatch.setattr(changes, "PAGE", 2)
    lifecycle.create(user_id=UserFactory.create().pk, name="theirs")
    for name in ("first", "second", "third"):
        lifecycle.create(user_id=user.pk, name=name)
    first = browser.get(reverse("keys:changes")).text
    assert "theirs" not in first
    assert "first" not in re.sub(r"<[^>]*>", "", first)
    older = re.search(r'\?before=(\d+)"', first)
    assert older
    assert ">first<" in browser.get(reverse("keys:changes"), {"before": older[1]}).text
    assert "There is nothing older" in browser.get(reverse("keys:changes"), {"before": "1"}).text
    assert browser.get(reverse("keys:changes"), {"before": "x"}).text.count(">second<") == 1


def test_it_is_written_in_persian_with_jalali_dates(browser: Client, user: User) -> None:
    lifecycle.create(user_id=user.pk, name="shop", rules=KeyRules(rpm=1_000))
    browser.cookies["hamiran_language"] = "fa"
    page = browser.get(reverse("keys:changes")).text
    assert "۱٬۰۰۰" in page
    assert "۱۴۰" in page
