"""People in the admin: found by what is known of them, and one page about each."""

import ast
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import Session, User
from accounts.note_models import UserNote
from tests.admin_browser import admin_browser
from tests.factories import UserFactory, WalletFactory, WebhookEndpointFactory
from tests.live import ROOT
from tests.proxy.factories import APIKeyFactory, UsageRecordFactory
from wallet.money import micro_from_toman
from wallet.payments.models import TopUp

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/user/"
QUERIES_MAX = 45  # of the whole page, whoever looks: session, rights, form and all parts


def page_of(user: User) -> str:
    return f"{LIST}{user.pk}/change/"


def of_role(name: str) -> Client:
    admin = UserFactory.create(is_staff=True)
    admin.groups.add(Group.objects.get(name=name))
    return admin_browser(admin)


def customer(mobile: str = "+989353141592", *, rows: int = 1) -> User:
    user: User = WalletFactory.create(
        user=UserFactory.create(mobile=mobile), credit_micro=micro_from_toman(12_345)
    ).user
    key = APIKeyFactory.create(user=user, name="shop", last_four="Kz7Q")
    for number in range(rows):
        APIKeyFactory.create(user=user)
        UsageRecordFactory.create(user_id=user.pk, key_id=key.pk, model=f"model-{number}")
        TopUp.objects.create(
            user=user,
            amount_micro=micro_from_toman(777),
            vat_micro=0,
            gateway="sandbox",
            created_at=timezone.now(),
        )
        UserNote.objects.create(user=user, author=user, text="called twice")
        WebhookEndpointFactory.create(user=user)
        Client().force_login(user)
        Session.objects.filter(user=user).update(user_agent="Firefox/145.0")
    return user


@pytest.mark.parametrize(
    "typed",
    [
        "09353141592",
        "۰۹۳۵۳۱۴۱۵۹۲",
        "+98 935 314 1592",
        "0098-935-314-1592",
        "0935314",
        "314159",
        "۱۵۹۲",
        "Kz7Q",
        "hm-…Kz7Q",
    ],
)
def test_one_is_found_by_number_or_key_and_the_search_goes_there(typed: str) -> None:
    user, browser = customer(), admin_browser()
    UserFactory.create(mobile="+989120000000")
    answer = browser.get(LIST, {"q": typed})
    assert (answer.status_code, answer.headers["Location"]) == (302, page_of(user))


def test_several_that_are_found_are_listed() -> None:
    one, other = customer("+989353141592"), customer("+989353141593")
    page = admin_browser().get(LIST, {"q": "0935314"}).text
    assert page_of(one) in page
    assert page_of(other) in page
    assert page_of(one) in admin_browser().get(LIST, {"q": "Kz7Q"}).text


@pytest.mark.parametrize("typed", ["09", "98", "shop", "'; --", "\u200c", "9" * 60])
def test_what_is_no_number_and_no_key_finds_nobody(typed: str) -> None:
    user = customer()
    answer = admin_browser().get(LIST, {"q": typed})
    assert answer.status_code == 200
    assert page_of(user) not in answer.text


def test_the_page_tells_what_there_is_about_a_person() -> None:
    user = customer()
    page = admin_browser().get(page_of(user)).text
    for words in (
        "12,345 Toman", "model-0", "hm-…Kz7Q", "Firefox", "777 Toman", "called twice", "This account works.",
        f"/admin/keys/apikey/?user__id__exact={user.pk}", f"/admin/wallet/journalentry/?wallet__exact={user.pk}",
        f"/admin/proxy/usagerecord/?user_id={user.pk}",
    ):  # fmt: skip
        assert words in page, words


def test_every_link_of_the_page_leads_somewhere() -> None:
    user, browser = customer(), admin_browser()
    page = browser.get(page_of(user))
    for section in page.context["sections"]:
        for url in {section.all_url, *(row.url for row in section.rows)} - {""}:
            assert browser.get(url).status_code == 200, url
    assert browser.get(page.context["audit_url"]).status_code == 200


@pytest.mark.parametrize(
    ("role", "missing"),
    [("support", set()), ("finance", {"webhooks"}), ("owner", set())],
)
def test_a_role_sees_the_parts_that_it_may_see(role: str, missing: set[str]) -> None:
    page = of_role(role).get(page_of(customer()))
    shown = {section.name for section in page.context["sections"]}
    every = {
        "notes", "balance", "statement", "usage", "keys", "sessions", "topups", "invoices", "webhooks", "channels",
    }  # fmt: skip
    assert shown == every - missing
    assert ("Block: sign out" in page.text) == (role != "finance")
    assert ("Adjust the balance" in page.text) == (role != "support")


def test_the_page_asks_as_many_questions_of_ten_times_as_much(django_assert_max_num_queries: Any) -> None:
    little, much, browser = customer("+989350000001"), customer("+989350000002", rows=12), admin_browser()
    browser.get(page_of(little))
    with django_assert_max_num_queries(QUERIES_MAX) as first:
        browser.get(page_of(little))
    with django_assert_max_num_queries(len(first.captured_queries)):
        browser.get(page_of(much))


# --- nobody signs in as somebody else --------------------------------------------------------------------------------


def test_nothing_on_the_page_makes_an_admin_that_person(rf: Any) -> None:
    admin: User = UserFactory.create(is_staff=True, is_superuser=True)
    browser, user = admin_browser(admin), UserFactory.create()
    request = rf.get("/")
    request.user = admin
    page = site._registry[User]
    for action in page.get_actions(request):
        browser.post(LIST, {"action": action, "_selected_action": [user.pk]})
    for pattern in page.get_urls():
        if "<int:pk>" in str(pattern.pattern):
            browser.post(LIST + str(pattern.pattern).replace("<int:pk>", str(user.pk)), {"words": "why"})
    assert browser.session["_auth_user_id"] == str(admin.pk)
    assert not Session.objects.filter(user=user).exists()


def test_only_a_one_time_code_and_the_admins_door_sign_anybody_in() -> None:
    def calls(path: Path) -> set[str]:
        names = {"login", "sign_in", "force_login"}
        tree = ast.parse(path.read_text())
        called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        return {name for func in called if (name := getattr(func, "attr", getattr(func, "id", ""))) in names}

    found = {
        str(path.relative_to(ROOT)): names
        for app in ("accounts", "keys", "wallet", "proxy", "config")
        for path in (ROOT / app).rglob("*.py")
        if (names := calls(path))
    }
    assert found == {
        "accounts/sessions.py": {"login"},
        "accounts/views.py": {"sign_in"},
        "config/admin/site.py": {"login"},
    }
