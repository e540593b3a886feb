import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts import sessions
from accounts.models import User
from keys import lifecycle, reading
from keys.models import APIKey
from keys.secret import digest
from proxy.catalogue import starter
from proxy.catalogue.models import LanguageModel
from tests.admin_browser import admin_browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

PAGE, SESSION = "/playground/", "/playground/session/"


@pytest.fixture
def user() -> User:
    return UserFactory.create()


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def test_strangers_are_sent_to_sign_in(client: Client) -> None:
    assert reverse("proxy:playground") == PAGE
    response = client.get(PAGE)
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("accounts:sign_in"))


def test_every_model_that_chats_can_be_picked_with_its_price(browser: Client) -> None:
    starter.load()
    page = browser.get(PAGE).text
    assert f"<option>{starter.MODEL_ID}</option>" in page
    assert "hamiran-embedding" not in page
    assert "input 30,000 Toman, output 180,000 Toman" in page
    assert f'data-session="{SESSION}"' in page
    assert f'data-base="{settings.BASE_URL}/v1"' in page


def test_what_is_served_beside_chat_can_be_tried(browser: Client) -> None:
    starter.load()
    page = browser.get(PAGE).text
    for endpoint, model in {
        "images": "hamiran-image",
        "speech": "hamiran-speech",
        "transcriptions": "hamiran-transcription",
        "embeddings": "hamiran-embedding",
    }.items():
        assert f'href="{PAGE}{endpoint}/"' in page
        trial = browser.get(f"{PAGE}{endpoint}/").text
        assert trial.count("<option>hamiran-") == 1
        assert f"<option>{model}</option>" in trial
        assert f'data-endpoint="{endpoint}"' in trial
        assert "Toman" in trial
    assert browser.get(f"{PAGE}moderations/").status_code == 404


def test_what_no_model_serves_is_not_offered(browser: Client) -> None:
    starter.load()
    LanguageModel.objects.filter(model_id__startswith="hamiran-").update(is_active=False)
    assert f"{PAGE}images/" not in browser.get(PAGE).text
    trial = browser.get(f"{PAGE}images/").text
    assert "No model is on sale right now" in trial
    assert 'id="trial"' not in trial


def test_strangers_try_nothing(client: Client) -> None:
    assert client.get(f"{PAGE}images/").status_code == 302


def test_without_a_model_the_page_says_so(browser: Client) -> None:
    page = browser.get(PAGE).text
    assert "No model is on sale right now" in page
    assert "playground.js" in page
    assert 'id="playground"' not in page


def test_what_went_wrong_has_an_explanation_for_every_kind_of_error(browser: Client) -> None:
    starter.load()
    explained = set(re.findall(r'<template data-trouble="(\w+)">', browser.get(PAGE).text))
    assert explained == {
        "400", "413", "429", "503", "broken", "insufficient_balance", "model_not_found", "no_new_keys", "offline",
        "signed_out", "stopped_whole", "request_exceeds_limit", "context_length_exceeded", "wallet_frozen",
    }  # fmt: skip


def test_looking_at_the_page_makes_no_key(browser: Client) -> None:
    before = APIKey.objects.count()
    browser.get(PAGE)
    assert APIKey.objects.count() == before


def test_the_key_of_a_session_works_for_an_hour_and_is_not_to_be_stored(browser: Client, user: User) -> None:
    response = browser.post(SESSION)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    given = response.json()
    key = APIKey.objects.get(user=user)
    assert bytes(key.digest) == digest(given["key"], settings.PEPPERS[key.pepper_version])
    expires_at = parse_datetime(given["expires_at"])
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - lifecycle.SESSION_LIFE) < timedelta(minutes=1)
    assert key.expires_at is not None
    assert abs(key.expires_at - expires_at) < timedelta(seconds=10)


def test_the_key_of_a_session_takes_the_place_of_the_one_before(browser: Client, user: User) -> None:
    first, second = (browser.post(SESSION).json()["key"] for _ in range(2))
    assert first != second
    assert APIKey.objects.filter(user=user).count() == 1
    assert reading.listing(user.pk) == []


def test_a_script_of_a_stranger_gets_a_status_and_no_redirect(client: Client) -> None:
    before = APIKey.objects.count()
    response = client.post(SESSION)
    assert (response.status_code, response.json()) == (401, {"error": "signed_out"})
    assert response["Cache-Control"] == "no-store"
    assert APIKey.objects.count() == before


def test_a_session_needs_a_form_token_and_a_post(user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(SESSION).status_code == 403
    assert strict.get(SESSION).status_code == 405
    assert not APIKey.objects.filter(user=user).exists()


def test_the_page_carries_the_token_that_a_session_needs(user: User) -> None:
    starter.load()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    found = re.search(
        r'name="csrfmiddlewaretoken" value="(\w+)"', strict.get(PAGE).text.split('id="playground"')[1]
    )
    assert found
    headers: dict[str, Any] = {"X-CSRFToken": found[1]}
    assert strict.post(SESSION, headers=headers).status_code == 200


def working_key(user: User) -> bool:
    return APIKey.objects.filter(user=user, revoked_at=None, expires_at__gt=timezone.now()).exists()


def test_signing_out_ends_the_key_and_the_next_session_has_another(user: User) -> None:
    browser, stranger = Client(), UserFactory.create()
    lifecycle.session_key(user_id=stranger.pk)
    for _ in range(2):
        browser.force_login(user)
        assert browser.post(SESSION).status_code == 200
        assert working_key(user)
        browser.post("/sign-out/")
        assert not working_key(user)
    assert working_key(stranger)
    assert browser.post("/sign-out/").status_code == 302  # nobody is signed in any more


def test_signing_out_of_the_admin_ends_the_key_too() -> None:
    browser = admin_browser()
    browser.post(SESSION)
    admin = User.objects.get(pk=browser.session["_auth_user_id"])
    assert browser.get("/admin/logout/").status_code == 405
    assert working_key(admin)
    assert "_auth_user_id" in browser.session
    browser.post("/admin/logout/")
    assert not working_key(admin)
    assert "_auth_user_id" not in browser.session


def test_the_key_ends_when_a_browser_is_signed_out_from_another_one(browser: Client, user: User) -> None:
    lost = Client()
    lost.force_login(user)
    lost.post(SESSION)
    [listed] = [
        each
        for each in sessions.listing(user_id=user.pk, current_key=browser.session.session_key)
        if not each.is_current
    ]
    browser.post(f"/settings/sessions/{listed.id}/end/")
    assert not working_key(user)
    browser.post(SESSION)
    assert working_key(user)
    browser.post("/settings/sessions/end-others/")
    assert not working_key(user)
