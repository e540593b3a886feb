"""The way to the bank in a real browser, whose policy for forms holds for every step of it."""

import re
import shutil
from collections.abc import Iterator

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client
from django.test.testcases import LiveServerThread
from django.urls import reverse
from playwright.sync_api import Page, sync_playwright

from tests.factories import WalletFactory
from tests.wallet.payments.gateways.servers import Provider
from wallet.ledger.models import Wallet
from wallet.payments.gateways.zarinpal import ZarinpalGateway
from wallet.payments.gateways.zibal import ZibalGateway

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def site(committed_db: None) -> Iterator[str]:
    server = LiveServerThread("127.0.0.1", StaticFilesHandler, connections_override={})
    server.start()
    server.is_ready.wait(20)
    yield f"http://127.0.0.1:{server.port}"
    server.terminate()


@pytest.fixture
def wallet(committed_db: None) -> Wallet:
    return WalletFactory.create()


@pytest.fixture
def page(site: str, wallet: Wallet) -> Iterator[Page]:
    """The wallet's page, signed in."""
    client = Client()
    client.force_login(wallet.user)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(locale="en")
        cookies = {"sessionid": client.cookies["sessionid"].value, "hamiran_language": "en"}
        context.add_cookies([{"name": name, "value": value, "url": site} for name, value in cookies.items()])
        page = context.new_page()
        page.goto(site + reverse("wallet:home"))
        yield page
        browser.close()


def go_to_the_sum(page: Page) -> None:
    page.get_by_label("Amount in Toman").fill("50,000")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.wait_for_url("**/review/**")


def test_the_payer_gets_to_the_bank_and_back(provider: Provider, page: Page) -> None:
    go_to_the_sum(page)
    page.get_by_role("button", name="Continue to the payment").click()
    page.wait_for_url(provider.url + "/**")
    assert page.title() == "Bank"
    page.click("#pay")
    page.wait_for_url(re.compile(r"/wallet/topups/[0-9a-f-]+/$"))
    assert "50,000 Toman has been added" in page.content()


def test_a_page_that_does_not_name_the_gateway_would_not_get_there(
    provider: Provider, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the test before can fail."""
    for gateway in (ZarinpalGateway, ZibalGateway):
        monkeypatch.setattr(gateway, "form_targets", ())
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    go_to_the_sum(page)
    with page.expect_event("console"):
        page.get_by_role("button", name="Continue to the payment").click()
    assert "form-action" in messages[0]
    assert page.title() != "Bank"
