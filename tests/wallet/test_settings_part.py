"""The wallet's part of the settings page: the alert, and the details on invoices."""

import pytest
from django.test import Client

from accounts import opening
from wallet import alerts
from wallet.money import micro_from_toman
from wallet.payments.invoice_models import BuyerDetails

pytestmark = pytest.mark.django_db


@pytest.fixture
def user_id() -> int:
    return opening.open_account(mobile="+989170000001").pk


@pytest.fixture
def browser(client: Client, user_id: int) -> Client:
    from accounts.models import User

    client.force_login(User.objects.get(pk=user_id))
    client.cookies["hamiran_language"] = "en"
    return client


def test_an_alert_chosen_in_the_settings_leads_back_there(browser: Client, user_id: int) -> None:
    saved = browser.post("/wallet/alert/", {"threshold": "۵۰۰۰", "next": "/settings/"})
    assert saved.headers["Location"] == "/settings/"
    assert alerts.threshold_micro(user_id) == micro_from_toman(5000)
    page = browser.get("/settings/").content.decode()
    assert "You will be told once when less than 5,000 Toman is available." in page
    assert 'value="5,000"' in page


def test_an_alert_that_makes_no_sense_is_explained_in_the_settings(browser: Client, user_id: int) -> None:
    page = browser.post("/wallet/alert/", {"threshold": "many", "next": "/settings/"}, follow=True)
    assert page.redirect_chain == [("/settings/", 302)]
    assert "notice--bad" in page.content.decode()
    assert alerts.threshold_micro(user_id) is None


def test_an_alert_leads_nowhere_else(browser: Client) -> None:
    saved = browser.post("/wallet/alert/", {"threshold": "5000", "next": "//evil.example/"})
    assert saved.headers["Location"] == "/wallet/"


def test_the_settings_show_what_stands_on_invoices(browser: Client, user_id: int) -> None:
    BuyerDetails.objects.create(user_id=user_id, name="Ketab <Shop>", postal_code="1234567890")
    page = browser.get("/settings/").content.decode()
    assert "Ketab &lt;Shop&gt;" in page
    assert "1234567890" in page
    assert 'href="/wallet/invoices/details/"' in page
