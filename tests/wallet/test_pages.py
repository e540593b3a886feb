import re
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import UserFactory, WalletFactory
from wallet.credits import gifts
from wallet.ledger.models import Hold, JournalEntry, Wallet
from wallet.money import micro_from_toman
from wallet.payments import gateways, topups
from wallet.payments.gateways.interface import GatewayError
from wallet.payments.models import TopUp

pytestmark = pytest.mark.django_db
HOME = "/wallet/"


@pytest.fixture
def wallet() -> Wallet:
    return WalletFactory.create()


@pytest.fixture
def browser(client: Client, wallet: Wallet) -> Client:
    client.force_login(wallet.user)
    client.cookies["hamiran_language"] = "en"
    return client


def go_to_pay(browser: Client, amount: str = "50,000") -> str:
    """Sends the form and returns the address of the gateway's page."""
    response = browser.post(reverse("wallet:start_topup"), {"amount": amount})
    assert response.status_code == 302
    return str(response["Location"])


def posted(wallet: Wallet) -> int:
    return Wallet.objects.get(pk=wallet.pk).posted_micro


def test_strangers_are_sent_to_sign_in(client: Client) -> None:
    for address in (HOME, reverse("wallet:statement"), reverse("wallet:topup", args=[uuid4()])):
        assert client.get(address)["Location"].startswith(reverse("accounts:sign_in"))
    assert client.post(reverse("wallet:start_topup"), {"amount": "50000"}).status_code == 302


def test_paying_on_the_gateways_page_brings_money_and_says_so(browser: Client, wallet: Wallet) -> None:
    gateway_page = go_to_pay(browser)
    assert "55,000 Toman" in browser.get(gateway_page).text
    result = browser.post(gateway_page, {"choice": "pay"}, follow=True)
    assert "50,000 Toman has been added to your wallet." in result.text
    assert posted(wallet) == micro_from_toman(50_000)
    for _ in range(2):  # loading it again changes nothing
        assert "has been added" in browser.get(result.request["PATH_INFO"]).text
    assert posted(wallet) == micro_from_toman(50_000)
    home = browser.get(HOME).text
    assert "credited" in home
    assert "top-up" in home


def test_cancelling_costs_nothing_and_says_so(browser: Client, wallet: Wallet) -> None:
    result = browser.post(go_to_pay(browser), {"choice": "cancel"}, follow=True)
    assert "The payment was not made" in result.text
    assert "Try again" in result.text
    assert posted(wallet) == 0


def test_a_second_click_on_pay_and_the_back_button_change_nothing(browser: Client, wallet: Wallet) -> None:
    gateway_page = go_to_pay(browser)
    browser.post(gateway_page, {"choice": "pay"}, follow=True)
    for choice in ("pay", "cancel"):
        assert "has been added" in browser.post(gateway_page, {"choice": choice}, follow=True).text
    back = browser.get(gateway_page).text
    assert "This payment has already been made." in back
    found = re.search(r'href="([^"]*Authority=[^"]*)"', back)
    assert found
    assert "has been added" in browser.get(unescape(found[1]), follow=True).text
    assert posted(wallet) == micro_from_toman(50_000)


def test_a_return_before_the_payment_credits_nothing_and_the_page_says_that_it_waits(
    browser: Client, wallet: Wallet
) -> None:
    go_to_pay(browser)
    [topup] = topups.recent(wallet.pk)
    authority = TopUp.objects.get(pk=topup.topup_id).authority
    early = (
        reverse("wallet:topup_return", args=[topup.topup_id]) + f"?Authority={authority}&Status=OK&ref_id=1"
    )
    for _ in range(2):
        page = browser.get(early, follow=True).text
        assert "has not confirmed the payment yet" in page
    assert posted(wallet) == 0


def test_a_return_of_another_payment_changes_nothing(browser: Client, wallet: Wallet) -> None:
    go_to_pay(browser)
    [topup] = topups.recent(wallet.pk)
    forged = reverse("wallet:topup_return", args=[topup.topup_id]) + "?Authority=S1&Status=OK"
    assert "not come back from the payment page" in browser.get(forged, follow=True).text
    assert posted(wallet) == 0


def test_a_day_that_is_full_is_pointed_out(browser: Client, settings: Any) -> None:
    settings.TOPUP_DAILY_MAX_TOMAN = 60_000
    go_to_pay(browser)
    response = browser.post(reverse("wallet:start_topup"), {"amount": "50000"})
    assert response.status_code == 400
    assert "You can still pay 10,000 Toman today" in response.text


@pytest.mark.parametrize(("language", "expected"), [("en", "start a new one in 60 minutes"), ("fa", "۶۰")])
def test_too_many_started_payments_are_pointed_out_with_what_to_do(
    browser: Client, settings: Any, language: str, expected: str
) -> None:
    settings.TOPUP_STARTS_PER_HOUR = 1
    go_to_pay(browser)
    browser.cookies["hamiran_language"] = language
    response = browser.post(reverse("wallet:start_topup"), {"amount": "50000"})
    assert response.status_code == 429
    assert expected in response.text


def test_the_return_works_in_a_browser_that_is_not_signed_in(browser: Client, wallet: Wallet) -> None:
    gateway_page = go_to_pay(browser)
    other = Client()
    response = other.post(gateway_page, {"choice": "pay"})
    landed = other.get(response["Location"])
    assert landed.status_code == 302
    assert posted(wallet) == micro_from_toman(50_000)
    assert other.get(landed["Location"])["Location"].startswith(reverse("accounts:sign_in"))


def test_who_paid_without_coming_back_can_ask_for_it(browser: Client, wallet: Wallet) -> None:
    gateway_page = go_to_pay(browser)
    [topup] = topups.recent(wallet.pk)
    address = reverse("wallet:topup", args=[topup.topup_id])
    assert "not come back from the payment page" in browser.get(address).text
    Client().post(gateway_page, {"choice": "pay"})
    page = browser.post(reverse("wallet:check_topup", args=[topup.topup_id]), follow=True).text
    assert "has been added" in page


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("created", "not come back"),
        ("redirected", "not come back"),
        ("returned", "has not confirmed"),
        ("verifying", "has not confirmed"),
        ("failed", "was not made"),
        ("expired", "has expired"),
        ("review", "needs a person"),
    ],
)
def test_every_state_of_a_top_up_is_said_plainly(
    browser: Client, wallet: Wallet, status: str, words: str
) -> None:
    topup = TopUp.objects.create(
        user=wallet.user,
        gateway="sandbox",
        amount_micro=10**7,
        status=status,
        authority=uuid4().hex,
        claimed_at=timezone.now(),
    )
    assert words in browser.get(reverse("wallet:topup", args=[topup.pk])).text


def test_top_ups_of_others_do_not_exist_for_me(browser: Client) -> None:
    theirs = TopUp.objects.create(user=UserFactory.create(), gateway="sandbox", amount_micro=10**7)
    assert browser.get(reverse("wallet:topup", args=[theirs.pk])).status_code == 404
    assert browser.post(reverse("wallet:check_topup", args=[theirs.pk])).status_code == 404
    assert browser.get(reverse("wallet:topup_return", args=[uuid4()])).status_code == 404
    assert browser.get(reverse("wallet:sandbox_payment", args=["S0"])).status_code == 404


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("", "required"),
        ("ten", "whole number of Toman"),
        ("9,999", "between 10,000 and 50,000,000 Toman"),
        ("50000001", "between 10,000 and 50,000,000 Toman"),
    ],
)
def test_a_wrong_amount_is_pointed_out(browser: Client, wallet: Wallet, amount: str, words: str) -> None:
    response = browser.post(reverse("wallet:start_topup"), {"amount": amount})
    assert response.status_code == 400
    assert words in response.text
    assert not topups.recent(wallet.pk)


def test_what_has_to_be_paid_is_shown_before_it_is_paid(browser: Client) -> None:
    page = browser.get(reverse("wallet:review_topup"), {"amount": "۲۰۰٬۰۰۰"}).text
    for words in ("200,000 Toman", "VAT (10%)", "20,000 Toman", "220,000 Toman"):
        assert words in page
    assert 'name="amount" value="200000"' in page


@pytest.mark.parametrize(
    ("amount", "words"), [("9,999", "between 10,000"), ("x", "whole number"), ("", "required")]
)
def test_a_wrong_amount_is_not_priced(browser: Client, amount: str, words: str) -> None:
    response = browser.get(reverse("wallet:review_topup"), {"amount": amount})
    assert response.status_code == 400
    assert words in response.text


def test_presets_lead_to_a_payment(browser: Client) -> None:
    amounts = re.findall(r'<button class="button" name="amount" value="(\d+)"', browser.get(HOME).text)
    assert amounts == ["50000", "100000", "200000", "500000"]
    assert "220,000 Toman" in browser.get(go_to_pay(browser, amounts[2])).text


def test_persian_digits_are_read_and_written(browser: Client, wallet: Wallet) -> None:
    browser.cookies["hamiran_language"] = "fa"
    browser.post(go_to_pay(browser, "۱۲۰٬۰۰۰"), {"choice": "pay"}, follow=True)
    assert posted(wallet) == micro_from_toman(120_000)
    page = browser.get(HOME).text
    assert "۱۲۰٬۰۰۰" in page
    assert 'value="50000"' in page


def test_without_a_gateway_the_page_says_so(browser: Client, settings: Any) -> None:
    settings.PAYMENT_GATEWAY = "none"
    assert "Payments are not configured" in browser.get(HOME).text
    response = browser.post(reverse("wallet:start_topup"), {"amount": "50000"})
    assert response.status_code == 409
    assert "Payments are not configured" in response.text


def test_a_gateway_that_is_away_is_said_plainly(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        name = "away"
        form_targets = ()

        def start(self, payment: Any) -> GatewayError:
            return GatewayError("time-out")

    monkeypatch.setattr(gateways, "configured", Away)
    response = browser.post(reverse("wallet:start_topup"), {"amount": "50000"})
    assert response.status_code == 502
    assert "Nothing was charged" in response.text


def test_the_sandbox_page_exists_in_the_sandbox_alone(browser: Client, settings: Any) -> None:
    gateway_page = go_to_pay(browser)
    settings.SANDBOX = False
    assert browser.get(gateway_page).status_code == 404
    assert browser.post(gateway_page, {"choice": "pay"}).status_code == 404


def test_home_shows_what_is_available_and_what_is_held(browser: Client, wallet: Wallet) -> None:
    gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(1_000))
    assert "Held" not in browser.get(HOME).text
    now = timezone.now()
    amount = micro_from_toman(300)
    Hold.objects.create(
        id=uuid4(), wallet=wallet, amount_micro=amount, created_at=now, expires_at=now + timedelta(minutes=1)
    )
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=amount)
    page = browser.get(HOME).text
    assert "700 Toman" in page
    assert "300 Toman" in page


def test_an_account_without_a_wallet_gets_a_page_too(client: Client) -> None:
    client.force_login(UserFactory.create())
    client.cookies["hamiran_language"] = "en"
    assert "no wallet" in client.get(HOME).text
    assert client.get(reverse("wallet:statement")).status_code == 200
    assert client.post(reverse("wallet:start_topup"), {"amount": "50000"}).status_code == 409


def test_the_statement_is_paged_by_cursor(
    browser: Client, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for toman in range(1, 53):
        gifts.give(wallet_id=wallet.pk, amount_micro=micro_from_toman(toman))
    first = browser.get(reverse("wallet:statement")).text
    oldest = JournalEntry.objects.filter(wallet=wallet).order_by("id")[2]
    assert f"?before={oldest.pk}" in first
    assert first.count("<tr>") == 51
    second = browser.get(reverse("wallet:statement"), {"before": oldest.pk}).text
    assert second.count("<tr>") == 3
    assert "Older" not in second


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "۱۲", "", "1.5", "0"])
def test_a_made_up_cursor_breaks_nothing(browser: Client, before: str) -> None:
    assert browser.get(reverse("wallet:statement"), {"before": before}).status_code == 200


def test_forms_are_protected_against_other_sites(wallet: Wallet) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(wallet.user)
    assert strict.post(reverse("wallet:start_topup"), {"amount": "50000"}).status_code == 403
    assert not topups.recent(wallet.pk)
