"""Signing in through a real provider, and through one that fails."""

import logging
from typing import Any

import pytest
from django.test import Client

from accounts.models import Challenge, User
from config.logging import JSONFormatter
from tests.accounts.people import new_address, new_mobile
from tests.accounts.sms.servers import Provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    browser = Client(REMOTE_ADDR=new_address())
    browser.cookies["hamiran_language"] = "en"
    return browser


def dialled(mobile: str) -> str:
    return "0" + mobile.removeprefix("+98")


def test_the_code_comes_by_sms_and_stands_on_no_page_of_the_sandbox(
    provider: Provider, browser: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    mobile = new_mobile()
    asked = browser.post("/sign-in/", {"mobile": mobile})
    [(receptor, code)] = provider.sent
    assert receptor == dialled(mobile)
    assert "sandbox_code" not in asked.cookies
    browser.cookies["sandbox_code"] = code
    page = browser.get("/sign-in/code/").text
    assert code not in page
    assert "This is the sandbox: no real money moves." in page
    assert code not in capsys.readouterr().out
    assert browser.post("/sign-in/code/", {"code": code}).headers["Location"] == "/overview/"
    assert User.objects.filter(mobile=mobile).exists()


@pytest.mark.parametrize("fault", ["lost reply", "500", "HTML"])
def test_a_code_without_an_answer_is_void_and_the_person_is_told(
    provider: Provider, browser: Client, fault: str
) -> None:
    provider.fault = fault
    mobile = new_mobile()
    page = browser.post("/sign-in/", {"mobile": mobile})
    assert page.status_code == 503
    assert "The SMS could not be sent. Please try again in 60 seconds." in page.text
    assert Challenge.objects.get(mobile=mobile).voided_at is not None


@pytest.mark.parametrize(
    ("refusals", "level"),
    [({"Kavenegar": 418, "SMSIr": 102}, logging.ERROR), ({"Kavenegar": 411, "SMSIr": 104}, logging.WARNING)],
)
def test_what_the_operator_has_to_mend_is_logged_as_an_error(
    provider: Provider,
    browser: Client,
    caplog: pytest.LogCaptureFixture,
    refusals: dict[str, int],
    level: int,
) -> None:
    provider.refusal = refusals[type(provider).__name__]
    mobile = new_mobile()
    assert browser.post("/sign-in/", {"mobile": mobile}).status_code == 503
    [record] = [record for record in caplog.records if record.message == "sms_failed"]
    assert record.levelno == level
    line = JSONFormatter().format(record)
    assert str(provider.refusal) in line
    for secret in (mobile, dialled(mobile), provider.key):
        assert secret not in line


def test_in_production_without_a_provider_nobody_signs_in(browser: Client, settings: Any) -> None:
    settings.SANDBOX = False
    assert settings.SMS_PROVIDER == "console"
    page = browser.post("/sign-in/", {"mobile": new_mobile()})
    assert page.status_code == 503
    assert "SMS is not configured" in page.text
