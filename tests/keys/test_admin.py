from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from keys import lifecycle, reading
from keys.models import APIKey
from keys.rules import KeyRules
from tests.admin_browser import admin_browser, staff_browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
LIST = "admin:keys_apikey_changelist"


@pytest.fixture
def browser() -> Client:
    return admin_browser()


def test_keys_are_neither_made_changed_nor_removed_by_admins(browser: Client) -> None:
    key = lifecycle.create(user_id=UserFactory.create().pk, name="laptop")
    assert browser.get(reverse("admin:keys_apikey_add")).status_code == 403
    assert browser.get(reverse("admin:keys_apikey_change", args=[key.key_id])).status_code == 200
    assert (
        browser.post(reverse("admin:keys_apikey_change", args=[key.key_id]), {"name": "x"}).status_code == 403
    )
    assert (
        browser.post(reverse("admin:keys_apikey_delete", args=[key.key_id]), {"post": "yes"}).status_code
        == 403
    )
    assert APIKey.objects.get(pk=key.key_id).name == "laptop"


def test_an_admin_revokes_keys_and_the_processes_are_told(
    browser: Client, django_capture_on_commit_callbacks: Any
) -> None:
    user = UserFactory.create()
    keys = [lifecycle.create(user_id=user.pk, name="laptop") for _ in range(3)]
    chosen = [key.key_id for key in keys[:2]]
    with django_capture_on_commit_callbacks() as announcements:
        response = browser.post(
            reverse(LIST), {"action": "revoke_selected", "_selected_action": chosen}, follow=True
        )
    assert "2 keys revoked." in response.text
    assert len(announcements) == 2
    assert [key.key_id for key in reading.listing(user.pk) if key.revoked_at is None] == [keys[2].key_id]


def test_an_admin_sees_what_a_key_may_do(browser: Client) -> None:
    rules = KeyRules(allowed_models=("a/b",), allowed_networks=("192.0.2.0/24",), rpm=77)
    key = lifecycle.create(user_id=UserFactory.create().pk, name="laptop", rules=rules)
    page = browser.get(reverse("admin:keys_apikey_change", args=[key.key_id])).text
    for shown in ("a/b", "192.0.2.0/24", "77"):
        assert shown in page


def test_keys_are_found_by_owner_or_last_four_and_show_no_digest(browser: Client) -> None:
    user = UserFactory.create()
    key = lifecycle.create(user_id=user.pk, name="laptop")
    for searched in (user.mobile, "0" + user.mobile[3:], key.last_four):
        page = browser.get(reverse(LIST), {"q": searched}).text
        assert user.mobile in page
        assert key.last_four in page
        assert bytes(APIKey.objects.get(pk=key.key_id).digest).hex() not in page


def test_staff_revoke_no_keys_of_staff() -> None:
    clerk = staff_browser("view_apikey", "change_apikey")
    customers = lifecycle.create(user_id=UserFactory.create().pk, name="laptop").key_id
    admins = lifecycle.create(user_id=UserFactory.create(is_staff=True).pk, name="laptop").key_id
    chosen = {"action": "revoke_selected", "_selected_action": [customers, admins]}
    assert clerk.post(reverse(LIST), chosen).status_code == 302
    kept = APIKey.objects.filter(pk__in=[customers, admins], revoked_at=None)
    assert [key.pk for key in kept] == [admins]
