from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from tests.admin_browser import admin_browser
from tests.factories import WalletFactory
from wallet.ledger.models import Budget, Hold, JournalEntry, Wallet
from wallet.payments.models import SandboxPayment, TopUp

pytestmark = pytest.mark.django_db
MODELS = (Wallet, Budget, Hold, JournalEntry, TopUp)


@pytest.fixture
def browser() -> Client:
    return admin_browser()


@pytest.fixture
def owner() -> User:
    """Somebody with a row in each table of money."""
    wallet = WalletFactory.create(credit_micro=12_345_678_900_000)
    now = timezone.now()
    Hold.objects.create(
        id=uuid4(), wallet=wallet, amount_micro=10**7, created_at=now, expires_at=now + timedelta(minutes=1)
    )
    TopUp.objects.create(user=wallet.user, gateway="sandbox", amount_micro=10**7)
    Budget.objects.create(wallet=wallet, limit_micro=10**9, spent_micro=10**7)
    return wallet.user


def address(model: Any, page: str, *arguments: object) -> str:
    return reverse(f"admin:wallet_{model._meta.model_name}_{page}", args=arguments)


def row_of(owner: User, model: Any) -> Any:
    return model.objects.get(**{"user" if model in (Wallet, TopUp) else "wallet": owner.pk})


@pytest.mark.parametrize("model", MODELS)
def test_money_can_be_seen_and_not_touched(browser: Client, owner: User, model: Any) -> None:
    row = row_of(owner, model)
    change, delete = (address(model, page, row.pk) for page in ("change", "delete"))
    assert browser.get(change).status_code == 200
    assert browser.post(change, {"posted_micro": 1, "amount_micro": 1}).status_code == 403
    assert browser.post(delete, {"post": "yes"}).status_code == 403
    assert browser.get(address(model, "add")).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    browser.post(address(model, "changelist"), chosen)
    assert model.objects.filter(pk=row.pk).values().get() == model.objects.filter(pk=row.pk).values()[0]


def test_the_sandbox_gateways_book_is_not_the_admins_business() -> None:
    assert not admin.site.is_registered(SandboxPayment)


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_found_by_mobile_number_however_it_is_written(
    browser: Client, owner: User, model: Any
) -> None:
    for searched in (owner.mobile, "0" + owner.mobile[3:], owner.mobile[-6:]):
        page = browser.get(address(model, "changelist"), {"q": searched}).text
        assert owner.mobile in page
        assert " Toman" in page


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("searched", ["no such thing", "9" * 50, "%_%"])
def test_a_search_for_nonsense_finds_nothing(browser: Client, owner: User, model: Any, searched: str) -> None:
    response = browser.get(address(model, "changelist"), {"q": searched})
    assert response.status_code == 200
    assert owner.mobile not in response.text


@pytest.mark.parametrize("model", [JournalEntry, TopUp, Hold])
def test_rows_are_found_by_their_id(browser: Client, owner: User, model: Any) -> None:
    row = row_of(owner, model)
    searched = str(row.transaction_id if model is JournalEntry else row.pk)
    assert owner.mobile in browser.get(address(model, "changelist"), {"q": searched}).text


@pytest.mark.parametrize("model", MODELS)
def test_amounts_are_shown_in_toman(browser: Client, owner: User, model: Any) -> None:
    page = browser.get(address(model, "change", row_of(owner, model).pk)).text
    assert owner.mobile in page
    assert ("1,234,567.89 Toman" if model in (Wallet, JournalEntry) else "1 Toman") in page


def test_the_systems_own_legs_have_neither_owner_nor_balance(browser: Client, owner: User) -> None:
    credit = JournalEntry.objects.get(wallet=owner.pk)
    other_leg = JournalEntry.objects.get(transaction_id=credit.transaction_id, account="gift")
    page = browser.get(address(JournalEntry, "change", other_leg.pk)).text
    assert owner.mobile not in page
    assert "-1,234,567.89 Toman" in page
