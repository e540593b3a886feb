"""Who may open and do what: every page of the admin, for every role.

A model that is new in the admin has to be put into the table here.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import Session, User
from config import roles
from tests.admin_browser import admin_browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

S, F, C, O = "support", "finance", "catalogue", "owner"  # noqa: E741 - one letter a role
EVERYBODY, NOBODY = {S, F, C, O}, set[str]()
# Who may see the list and a row of it; who may add one; who may change one by its form.
PAGES: dict[str, tuple[set[str], set[str], set[str]]] = {
    "accounts.authenticator": ({O}, NOBODY, NOBODY),
    "accounts.botstate": ({O}, NOBODY, NOBODY),
    "accounts.challenge": ({S, O}, NOBODY, NOBODY),
    "accounts.notice": ({S, F, O}, NOBODY, NOBODY),
    "accounts.numberchange": ({S, O}, {S, O}, NOBODY),
    "accounts.tier": ({S, F, O}, {O}, {O}),
    "accounts.user": ({S, F, O}, {O}, {O}),
    "accounts.usernote": ({S, F, O}, NOBODY, NOBODY),
    "accounts.webhookdelivery": ({S, O}, NOBODY, NOBODY),
    "accounts.webhookendpoint": ({S, O}, NOBODY, NOBODY),
    "auditlog.logentry": (EVERYBODY, NOBODY, NOBODY),
    "auth.group": (NOBODY, NOBODY, NOBODY),
    "axes.accessattempt": ({O}, NOBODY, NOBODY),
    "axes.accesslog": (NOBODY, NOBODY, NOBODY),
    "config.proof": ({F, O}, NOBODY, NOBODY),
    "config.taskrun": ({S, O}, NOBODY, NOBODY),
    "keys.apikey": ({S, F, O}, NOBODY, NOBODY),
    "keys.limitoverride": ({S, F, O}, {O}, NOBODY),
    "proxy.exchangerate": (EVERYBODY, {C, O}, NOBODY),
    "proxy.languagemodel": (EVERYBODY, {C, O}, {C, O}),
    "proxy.price": (EVERYBODY, {C, O}, NOBODY),
    "proxy.pricechange": ({C, O}, NOBODY, NOBODY),
    "proxy.upstream": ({C, O}, {C, O}, {C, O}),
    "proxy.usagerecord": (EVERYBODY, NOBODY, NOBODY),
    "wallet.adjustment": ({F, O}, {F, O}, NOBODY),
    "wallet.budget": ({S, F, O}, NOBODY, NOBODY),
    "wallet.gatewaychoice": ({O}, {O}, {O}),
    "wallet.hold": ({S, F, O}, NOBODY, NOBODY),
    "wallet.invoice": ({S, F, O}, NOBODY, NOBODY),
    "wallet.journalentry": ({S, F, O}, NOBODY, NOBODY),
    "wallet.promocode": ({F, O}, {F, O}, {F, O}),
    "wallet.promoredemption": ({S, F, O}, NOBODY, NOBODY),
    "wallet.sellerdetails": ({F, O}, NOBODY, {F, O}),
    "wallet.signupcreditchange": ({O}, NOBODY, NOBODY),
    "wallet.signupcreditday": ({F, O}, NOBODY, NOBODY),
    "wallet.topup": ({S, F, O}, NOBODY, NOBODY),
    "wallet.vatrate": ({F, O}, {F, O}, NOBODY),
    "wallet.wallet": ({S, F, O}, NOBODY, NOBODY),
}
DELETED_BY_OWNERS = {"accounts.tier", "proxy.upstream"}  # as long as nothing refers to it
# Actions of the lists.
ACTIONS: dict[str, set[str]] = {
    "accounts.numberchange approve": {O},
    "accounts.numberchange reject": {O},
    "accounts.user block": {S, O},
    "accounts.user end_sessions": {S, O},
    "accounts.user unblock": {S, O},
    "keys.apikey revoke_selected": {S, O},
    "keys.limitoverride end_now": {O},
    "proxy.pricechange approve": {C, O},
    "proxy.pricechange reject": {C, O},
    "wallet.adjustment approve": {F, O},
    "wallet.adjustment reject": {F, O},
    "wallet.promocode approve": {F, O},
    "wallet.signupcreditchange approve": {O},
    "wallet.signupcreditchange reject": {O},
    "wallet.topup ask_again": {F, O},
    "wallet.wallet unfreeze": NOBODY,
}
# Addresses beside Django's own: who opens them. What is not here is for who may change the model.
OTHER_PAGES: dict[str, set[str]] = {
    "auditlog.logentry csv": EVERYBODY,
}


@pytest.fixture(params=sorted(EVERYBODY))
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def admin_of(role: str) -> User:
    admin: User = UserFactory.create(is_staff=True)
    admin.groups.add(Group.objects.get(name=role))
    return admin


@pytest.fixture
def browser(role: str) -> Client:
    return admin_browser(admin_of(role))


def registered() -> Iterator[tuple[str, Any]]:
    for model, admin in site._registry.items():
        yield model._meta.label_lower, admin


def test_every_model_of_the_admin_stands_in_the_table() -> None:
    assert {label for label, _admin in registered()} == set(PAGES)


def test_a_role_opens_what_the_table_says_and_nothing_else(role: str, browser: Client) -> None:
    for label, (viewers, adders, _changers) in PAGES.items():
        path = f"/admin/{label.replace('.', '/')}/"
        assert browser.get(path).status_code == (200 if role in viewers else 403), path
        assert browser.get(f"{path}add/").status_code == (200 if role in adders else 403), path


def test_a_role_may_change_what_the_table_says(role: str, rf: Any) -> None:
    request = rf.get("/admin/")
    request.user = admin_of(role)
    for label, admin in registered():
        _viewers, _adders, changers = PAGES[label]
        assert admin.has_change_permission(request) == (role in changers), label
        may_delete = role == O and label in DELETED_BY_OWNERS
        assert admin.has_delete_permission(request) == may_delete, label


def test_a_role_has_the_actions_that_the_table_says(role: str, rf: Any) -> None:
    request = rf.get("/admin/")
    request.user = admin_of(role)
    found = {
        f"{label} {name}"
        for label, admin in registered()
        for name in admin.get_actions(request)
        if admin.has_view_permission(request) and name != "delete_selected"
    }
    assert found == {action for action, allowed in ACTIONS.items() if role in allowed}


def test_every_other_page_of_the_admin_is_closed_to_who_may_not_change_its_model(
    role: str, browser: Client
) -> None:
    """Previews, whole price lists and whatever else a model's admin has beside Django's own pages."""
    own = {"changelist", "add", "history", "delete", "change"}
    for label, admin in registered():
        for pattern in admin.get_urls():
            name = str(pattern.name or "")
            if not name or name.rpartition("_")[2] in own:
                continue
            end = re.sub(r"<\w+:\w+>", "0", str(pattern.pattern))
            path = f"/admin/{label.replace('.', '/')}/{end}"
            if role not in OTHER_PAGES.get(f"{label} {name.rpartition('_')[2]}", PAGES[label][2]):
                assert browser.get(path).status_code in {302, 403, 404, 405}, path


def test_support_blocks_an_account_and_its_browsers_are_signed_out() -> None:
    customer = UserFactory.create()
    phone = Client()
    phone.force_login(customer)
    browser = admin_browser(admin_of(S))
    browser.post("/admin/accounts/user/", {"action": "block", "_selected_action": [customer.pk]})
    customer.refresh_from_db()
    assert not customer.is_active
    assert not Session.objects.filter(user=customer).exists()
    browser.post("/admin/accounts/user/", {"action": "unblock", "_selected_action": [customer.pk]})
    customer.refresh_from_db()
    assert customer.is_active


def test_support_cannot_block_an_admin() -> None:
    other = admin_of(F)
    browser = admin_browser(admin_of(S))
    answer = browser.post(
        "/admin/accounts/user/", {"action": "block", "_selected_action": [other.pk]}, follow=True
    )
    other.refresh_from_db()
    assert other.is_active
    assert "account of an admin" in answer.content.decode()


def test_catalogue_cannot_block_anybody() -> None:
    customer = UserFactory.create()
    browser = admin_browser(admin_of(C))
    answer = browser.post("/admin/accounts/user/", {"action": "block", "_selected_action": [customer.pk]})
    assert answer.status_code == 403
    customer.refresh_from_db()
    assert customer.is_active


def test_each_role_is_what_the_code_says() -> None:
    for name, wanted in roles.ROLES.items():
        held = Group.objects.get(name=name).permissions.select_related("content_type")
        assert {f"{each.content_type.app_label}.{each.codename}" for each in held} == set(wanted), name


def test_making_them_again_takes_what_a_role_has_not() -> None:
    group = Group.objects.get(name=C)
    group.permissions.add(*Group.objects.get(name=F).permissions.all())
    roles.make([C])
    assert not group.permissions.filter(codename="add_adjustment").exists()
