import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from keys import lifecycle
from keys.models import APIKey
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return UserFactory.create()


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def token_of_a_fresh_form(browser: Client) -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get(reverse("keys:create")).text)
    assert found
    return found[1]


@pytest.mark.parametrize("name", ["keys:list", "keys:create"])
def test_strangers_are_sent_to_sign_in(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("accounts:sign_in"))


def test_a_newcomer_is_told_what_to_do(browser: Client) -> None:
    page = browser.get(reverse("keys:list")).text
    assert "No key yet" in page
    assert reverse("keys:create") in page


def test_the_secret_is_shown_once_with_a_ready_env_file(browser: Client, user: User, settings: Any) -> None:
    response = browser.post(
        reverse("keys:create"), {"name": "laptop", "token": token_of_a_fresh_form(browser)}
    )
    assert response.status_code == 200
    found = re.search(r"OPENAI_API_KEY=(hm-[0-9A-Za-z]{36})\n", response.text)
    assert found
    assert f"OPENAI_BASE_URL={settings.BASE_URL}/v1" in response.text
    assert response["Cache-Control"] == "no-store"
    [key] = lifecycle.listing(user.pk)
    assert (key.name, key.last_four) == ("laptop", found[1][-4:])
    assert found[1] not in browser.get(reverse("keys:list")).text
    assert found[1] not in browser.get(reverse("keys:create")).text
    assert found[1] not in str(dict(browser.session))


def test_sending_the_same_form_again_makes_no_second_key_and_shows_no_secret(
    browser: Client, user: User
) -> None:
    form = {"name": "laptop", "token": token_of_a_fresh_form(browser)}
    browser.post(reverse("keys:create"), form)
    again = browser.post(reverse("keys:create"), form, follow=True)
    assert again.redirect_chain == [(reverse("keys:list"), 302)]
    assert "a secret is shown only once" in again.text
    assert not re.search(r"hm-[0-9A-Za-z]{8}", again.text)
    assert len(lifecycle.listing(user.pk)) == 1


def test_two_showings_of_the_form_make_two_keys(browser: Client, user: User) -> None:
    for _ in range(2):
        browser.post(reverse("keys:create"), {"name": "laptop", "token": token_of_a_fresh_form(browser)})
    assert len(lifecycle.listing(user.pk)) == 2


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\0b"])
def test_a_bad_name_is_pointed_out_and_makes_no_key(browser: Client, user: User, name: str) -> None:
    response = browser.post(reverse("keys:create"), {"name": name, "token": token_of_a_fresh_form(browser)})
    assert response.status_code == 400
    assert "field__error" in response.text
    assert not lifecycle.listing(user.pk)


def test_a_form_without_its_token_makes_no_key(browser: Client, user: User) -> None:
    assert browser.post(reverse("keys:create"), {"name": "laptop"}).status_code == 400
    assert not lifecycle.listing(user.pk)


def test_the_limit_of_keys_is_said_plainly(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 1)
    lifecycle.create(user_id=user.pk, name="first")
    response = browser.post(
        reverse("keys:create"), {"name": "second", "token": token_of_a_fresh_form(browser)}
    )
    assert response.status_code == 400
    assert "You have 1 active keys" in response.text
    assert "You have 1 active keys" in browser.get(reverse("keys:list")).text


def test_a_name_is_never_markup(browser: Client, user: User) -> None:
    lifecycle.create(user_id=user.pk, name="<script>alert(1)</script>")
    assert "<script>alert" not in browser.get(reverse("keys:list")).text


def test_the_list_tells_last_use(browser: Client, user: User) -> None:
    key = lifecycle.create(user_id=user.pk, name="laptop")
    page = browser.get(reverse("keys:list")).text
    assert f"hm-…{key.last_four}" in page
    assert "never" in page
    lifecycle.touch({key.key_id: timezone.now()})
    assert "never" not in browser.get(reverse("keys:list")).text


def test_revoking_asks_first_and_then_does_it(browser: Client, user: User) -> None:
    key = lifecycle.create(user_id=user.pk, name="laptop")
    address = reverse("keys:revoke", args=[key.key_id])
    assert "laptop" in browser.get(address).text
    assert APIKey.objects.get(pk=key.key_id).revoked_at is None
    page = browser.post(address, follow=True).text
    assert "Revoked keys" in page
    assert APIKey.objects.get(pk=key.key_id).revoked_at is not None
    assert browser.get(address)["Location"] == reverse("keys:list")
    assert browser.post(address).status_code == 302


def test_keys_of_others_do_not_exist_for_me(browser: Client) -> None:
    theirs = lifecycle.create(user_id=UserFactory.create().pk, name="theirs")
    address = reverse("keys:revoke", args=[theirs.key_id])
    assert browser.get(address).status_code == browser.post(address).status_code == 404
    assert APIKey.objects.get(pk=theirs.key_id).revoked_at is None
    assert "theirs" not in browser.get(reverse("keys:list")).text


def test_forms_are_protected_against_other_sites(user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(reverse("keys:create"), {"name": "laptop"}).status_code == 403
