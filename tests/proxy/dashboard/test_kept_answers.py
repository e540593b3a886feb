"""The settings page's part about kept answers."""

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import opening
from accounts.models import User
from proxy.idempotency import keeping
from proxy.idempotency.models import KeptAnswer

pytestmark = pytest.mark.django_db


@pytest.fixture
def user_id() -> int:
    return opening.open_account(mobile="+989170000001").pk


@pytest.fixture
def browser(client: Client, user_id: int) -> Client:
    client.force_login(User.objects.get(pk=user_id))
    client.cookies["hamiran_language"] = "en"
    return client


def kept(user_id: int, *, hours: int = 24, hours_ago: float = 0) -> KeptAnswer:
    at = timezone.now() - timedelta(hours=hours_ago)
    return KeptAnswer.objects.create(
        request_id=uuid.uuid4(),
        user_id=user_id,
        kept_at=at,
        expires_at=at + timedelta(hours=hours),
        size=4096,
        content=b"sealed",
    )


def test_nothing_is_kept_until_it_is_chosen(browser: Client, user_id: int) -> None:
    page = browser.get("/settings/").content.decode()
    assert "Keep answers" in page
    assert "Switch off" not in page
    assert keeping.of(user_id=user_id) == keeping.Keeping(None, 0, 0)


def test_it_is_switched_on_for_some_hours_and_off_again(browser: Client, user_id: int) -> None:
    page = browser.post("/settings/kept-answers/keep/", {"hours": "6"}, follow=True).content.decode()
    assert "are now kept for 6 hours" in page
    kept(user_id)
    page = browser.get("/settings/").content.decode()
    assert "1 answer is kept now." in page
    page = browser.post("/settings/kept-answers/stop/", follow=True).content.decode()
    assert "No answers are kept any more. 1 kept answer was deleted." in page
    assert keeping.of(user_id=user_id) == keeping.Keeping(None, 0, 0)
    assert not KeptAnswer.objects.filter(user_id=user_id).exists()


def test_what_is_kept_can_be_deleted_at_once(browser: Client, user_id: int) -> None:
    keeping.keep(user_id=user_id, hours=24)
    mine, other = kept(user_id), kept(user_id + 1)
    page = browser.post("/settings/kept-answers/delete/", follow=True).content.decode()
    assert "1 kept answer was deleted." in page
    assert not KeptAnswer.objects.filter(pk=mine.pk).exists()
    assert KeptAnswer.objects.filter(pk=other.pk).exists()
    assert keeping.of(user_id=user_id).hours == 24


@pytest.mark.parametrize("hours", ["0", "25", "-1", "many", ""])
def test_no_other_time_can_be_chosen(browser: Client, user_id: int, hours: str) -> None:
    page = browser.post("/settings/kept-answers/keep/", {"hours": hours}, follow=True).content.decode()
    assert "Choose a time from 1 to 24 hours." in page
    assert keeping.of(user_id=user_id).hours is None


@pytest.mark.parametrize("what", ["keep", "stop", "delete"])
def test_a_stranger_cannot_change_anything(client: Client, what: str) -> None:
    assert client.post(f"/settings/kept-answers/{what}/").status_code == 302
    assert client.get(f"/settings/kept-answers/{what}/").status_code == 405


def test_a_shorter_time_holds_for_what_is_kept_already(user_id: int) -> None:
    keeping.keep(user_id=user_id, hours=24)
    old, new = kept(user_id, hours_ago=3), kept(user_id, hours_ago=1)
    keeping.keep(user_id=user_id, hours=2)
    assert not KeptAnswer.objects.filter(pk=old.pk).exists()
    new.refresh_from_db()
    assert new.expires_at == new.kept_at + timedelta(hours=2)
    keeping.keep(user_id=user_id, hours=24)
    new.refresh_from_db()
    assert new.expires_at == new.kept_at + timedelta(hours=2)
