"""Which browsers one is signed in with, and how one of them is signed out."""

import re
from datetime import timedelta
from importlib import import_module

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from accounts import opening, sessions
from accounts.models import Session, User
from accounts.session_store import SessionStore, digest
from accounts.tasks import purge_sessions
from tests.accounts.people import new_address, new_mobile

pytestmark = pytest.mark.django_db
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def user() -> User:
    return opening.open_account(mobile=new_mobile())


def signed_in(user: User, *, user_agent: str = FIREFOX) -> Client:
    """Through the pages, as people do it."""
    browser = Client(REMOTE_ADDR=new_address(), headers={"user-agent": user_agent})
    browser.cookies["hamiran_language"] = "en"
    browser.post("/sign-in/", {"mobile": "0" + user.mobile.removeprefix("+98")})
    browser.post("/sign-in/code/", {"code": browser.cookies["sandbox_code"].value})
    assert "_auth_user_id" in browser.session
    return browser


def test_the_settings_page_shows_each_browser_and_which_one_this_is(user: User) -> None:
    here, there = signed_in(user), signed_in(user, user_agent=IPHONE)
    page = here.get("/settings/").content.decode()
    first, second = re.findall(r'<li class="thing">(.*?)</li>', page, re.DOTALL)
    assert "Firefox on Linux" in first
    assert "this browser" in first
    assert "Safari on iPhone" in second
    assert "this browser" not in second
    address = Session.objects.get(pk=digest(str(there.session.session_key))).address
    assert address
    assert address in second


def test_a_session_key_is_never_on_a_page(user: User) -> None:
    here, there = signed_in(user), signed_in(user, user_agent=IPHONE)
    page = here.get("/settings/").content.decode()
    assert str(there.session.session_key) not in page
    assert str(here.session.session_key) not in page


def test_a_browser_that_says_nothing_of_itself_is_listed_all_the_same(user: User) -> None:
    page = signed_in(user, user_agent="").get("/settings/").content.decode()
    assert "An unknown browser" in page


def test_ending_a_session_asks_first_and_signs_that_browser_out_at_its_next_page(user: User) -> None:
    here, there = signed_in(user), signed_in(user, user_agent=IPHONE)
    [link] = re.findall(r'href="(/settings/sessions/\w+/end/)"', here.get("/settings/").content.decode())
    asked = here.get(link)
    assert "Safari on iPhone" in asked.content.decode()
    assert there.get("/keys/").status_code == 200
    ended = here.post(link, follow=True)
    assert "That browser has been signed out." in ended.content.decode()
    assert there.get("/keys/").headers["Location"].startswith("/sign-in/")
    assert here.get("/keys/").status_code == 200
    assert "That browser was already signed out." in here.post(link, follow=True).content.decode()


def test_all_others_are_ended_at_once(user: User) -> None:
    here, others = signed_in(user), [signed_in(user) for _ in range(2)]
    stranger = signed_in(opening.open_account(mobile=new_mobile()))
    assert here.get("/settings/sessions/end-others/").status_code == 200
    ended = here.post("/settings/sessions/end-others/", follow=True)
    assert "2 other browsers have been signed out." in ended.content.decode()
    assert all(other.get("/keys/").status_code == 302 for other in others)
    assert here.get("/keys/").status_code == stranger.get("/keys/").status_code == 200


def test_nobody_ends_the_session_of_somebody_else(user: User) -> None:
    here, stranger = signed_in(user), signed_in(opening.open_account(mobile=new_mobile()))
    [listed] = sessions.listing(user_id=user.pk, current_key=None)
    assert stranger.get(f"/settings/sessions/{listed.id}/end/").status_code == 404
    stranger.post(f"/settings/sessions/{listed.id}/end/")
    assert here.get("/keys/").status_code == 200


def test_the_present_session_is_not_ended_from_the_list(user: User) -> None:
    here = signed_in(user)
    [listed] = sessions.listing(user_id=user.pk, current_key=here.session.session_key)
    assert here.get(f"/settings/sessions/{listed.id}/end/").status_code == 404


@pytest.mark.parametrize(
    "path", ["/settings/", "/settings/sessions/end-others/", f"/settings/sessions/{'0' * 32}/end/"]
)
def test_strangers_are_asked_to_sign_in(client: Client, path: str) -> None:
    assert client.get(path).headers["Location"] == f"/sign-in/?next={path}"


def test_when_a_browser_was_last_seen_is_written_every_five_minutes_at_most(user: User) -> None:
    browser = signed_in(user)
    mine = Session.objects.filter(user=user)
    signed_in_at = mine.get().signed_in_at
    mine.update(last_seen_at=timezone.now() - timedelta(minutes=6))
    browser.get("/keys/")
    seen_at = mine.get().last_seen_at
    assert timezone.now() - seen_at < timedelta(minutes=1)
    browser.get("/keys/")
    assert mine.get().last_seen_at == seen_at
    assert mine.get().signed_in_at == signed_in_at


def test_a_sign_in_that_has_only_begun_is_nobodys_session() -> None:
    browser, mobile = Client(REMOTE_ADDR=new_address()), new_mobile()
    browser.post("/sign-in/", {"mobile": "0" + mobile.removeprefix("+98")})
    assert Session.objects.get(pk=digest(str(browser.session.session_key))).user_id is None


def test_an_expired_session_is_not_listed_and_then_purged(user: User) -> None:
    signed_in(user)
    Session.objects.filter(user=user).update(expire_date=timezone.now() - timedelta(seconds=1))
    assert sessions.listing(user_id=user.pk, current_key=None) == []
    purge_sessions()
    assert not Session.objects.filter(user=user).exists()


def test_the_database_refuses_a_session_of_a_user_who_never_signed_in(user: User) -> None:
    with pytest.raises(IntegrityError, match="session_signed_in_at"), transaction.atomic():
        Session.objects.create(
            session_key="k" * 32, session_data="", expire_date=timezone.now(), user=user, signed_in_at=None
        )


def test_a_session_is_never_written_out_with_its_key() -> None:
    assert "k" * 32 not in str(Session(session_key="k" * 32, user_agent="Firefox"))


def test_what_the_table_of_sessions_holds_signs_nobody_in(user: User) -> None:
    browser = signed_in(user)
    key = str(browser.session.session_key)
    stored = Session.objects.get(user=user)
    assert key not in str(vars(stored))
    thief = Client()
    for stolen in (stored.session_key, stored.session_key[: len(key)]):
        thief.cookies["sessionid"] = stolen
        assert thief.get("/keys/").status_code == 302
    thief.cookies["sessionid"] = key
    assert thief.get("/keys/").status_code == 200


def test_a_session_key_of_a_strangers_making_is_never_used(user: User) -> None:
    store = SessionStore("a" * 32)
    store["x"] = 1
    store.save()
    assert store.session_key != "a" * 32
    assert store.exists(str(store.session_key))
    store.delete()
    assert not store.exists(str(store.session_key))


def test_sessions_of_before_are_found_by_their_digests(user: User) -> None:
    browser = signed_in(user)
    key = str(browser.session.session_key)
    Session.objects.filter(user=user).update(session_key=key)  # as it was stored before there were digests
    with connection.cursor() as cursor:
        cursor.execute(import_module("accounts.migrations.0006_session_digests").DIGEST)
    assert browser.get("/keys/").status_code == 200
    assert Session.objects.get(user=user).session_key == digest(key)
