"""Which gateway takes new payments: the settings say it, and an admin may choose among those that they know."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import translation

from config.views import server_error
from tests.admin_browser import admin_browser
from tests.live import ROOT
from wallet.payments import gateways
from wallet.payments.models import GatewayChoice

ADD = reverse("admin:wallet_gatewaychoice_add")
CHANGE = reverse("admin:wallet_gatewaychoice_change", args=[1])


@pytest.fixture
def known(settings: Any) -> None:
    settings.ZARINPAL_MERCHANT_ID, settings.ZIBAL_MERCHANT = "m" * 36, "shop"


def name() -> str | None:
    gateway = gateways.configured()
    return gateway.name if gateway else None


@pytest.mark.django_db
@pytest.mark.parametrize("chosen", ["sandbox", "zarinpal", "zibal"])
def test_an_admins_choice_goes_before_the_settings(known: None, settings: Any, chosen: str) -> None:
    settings.PAYMENT_GATEWAY = "zarinpal"
    assert name() == "zarinpal"
    GatewayChoice.objects.create(gateway=chosen)
    assert name() == chosen


@pytest.mark.django_db
def test_an_admin_may_stop_payments(known: None) -> None:
    GatewayChoice.objects.create(gateway="none")
    assert name() is None


@pytest.mark.django_db
@pytest.mark.parametrize("chosen", ["", "zibal"])
def test_an_empty_choice_or_one_that_the_settings_no_longer_know_leaves_it_to_them(chosen: str) -> None:
    GatewayChoice.objects.create(gateway=chosen)
    assert name() == "sandbox"


@pytest.mark.parametrize("name", ["zarinpal", "zibal", "paypal", ""])
def test_a_gateway_that_the_settings_do_not_know_is_none(name: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        gateways.named(name)


@pytest.mark.django_db
def test_an_admin_chooses_among_what_the_settings_know_and_it_is_recorded(known: None, settings: Any) -> None:
    settings.ZARINPAL_MERCHANT_ID = ""
    browser = admin_browser()
    page = browser.get(ADD).text
    assert "as the settings say: Sandbox" in page
    for offered in ("zibal", "none", "sandbox"):
        assert f'<option value="{offered}">' in page
    assert "zarinpal" not in page
    assert browser.post(ADD, {"gateway": "zarinpal"}).status_code == 200
    assert browser.post(ADD, {"gateway": "zibal"}).status_code == 302
    assert name() == "zibal"
    assert browser.get(ADD).status_code == 403
    assert browser.post(CHANGE, {"gateway": "none"}).status_code == 302
    assert name() is None
    entries = LogEntry.objects.get_for_object(GatewayChoice.objects.get()).order_by("id")
    assert [entry.changes_dict["gateway"] for entry in entries] == [["None", "zibal"], ["zibal", "none"]]
    assert all(entry.actor for entry in entries)
    assert "no payments" in browser.get(reverse("admin:wallet_gatewaychoice_changelist")).text
    assert (
        browser.post(reverse("admin:wallet_gatewaychoice_delete", args=[1]), {"post": "y"}).status_code == 403
    )


@pytest.mark.django_db
def test_strangers_choose_nothing(client: Client) -> None:
    assert client.post(ADD, {"gateway": "none"}).status_code == 302
    assert not GatewayChoice.objects.exists()


@pytest.mark.parametrize(
    ("zarinpal", "zibal", "warnings"), [(False, "shop", 0), (True, "shop", 1), (True, "zibal", 2)]
)
def test_deployment_checks_warn_of_play_money(
    settings: Any, zarinpal: bool, zibal: str, warnings: int
) -> None:
    settings.ZARINPAL_SANDBOX, settings.ZIBAL_MERCHANT = zarinpal, zibal
    found = checks.run_checks(include_deployment_checks=True)
    assert len([message for message in found if message.id == "wallet.W001"]) == warnings


PRODUCTION = {
    "HAMIRAN_MODE": "production", "SECRET_KEY": "k" * 60, "PEPPERS": "1:" + "p" * 32, "FIELD_KEYS": "f" * 32,
    "ALLOWED_HOSTS": "a.ir",
    "BASE_URL": "https://a.ir", "DATABASE_URL": "postgresql:///x?host=/nowhere", "REDIS_URL": "unix:///nowhere",
}  # fmt: skip


def settings_with(monkeypatch: pytest.MonkeyPatch, **env: str) -> dict[str, Any]:
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    return runpy.run_path(str(ROOT / "config" / "settings.py"))


def test_zarinpals_sandbox_needs_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings_with(monkeypatch, PAYMENT_GATEWAY="zarinpal", ZARINPAL_SANDBOX="true")
    assert read["ZARINPAL_BASE_URL"] == "https://sandbox.zarinpal.com"
    assert len(read["ZARINPAL_MERCHANT_ID"]) == 36


def test_a_merchant_id_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "merchant"
    secret.write_text("from-a-file\n")
    read = settings_with(
        monkeypatch, **PRODUCTION, PAYMENT_GATEWAY="zarinpal", ZARINPAL_MERCHANT_ID_FILE=str(secret)
    )
    assert read["ZARINPAL_BASE_URL"] == "https://payment.zarinpal.com"
    assert read["ZARINPAL_MERCHANT_ID"] == "from-a-file"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PAYMENT_GATEWAY": "zarinpal"}, "ZARINPAL_MERCHANT_ID has to be set"),
        ({"PAYMENT_GATEWAY": "zibal"}, "ZIBAL_MERCHANT has to be set"),
        ({"ZARINPAL_MERCHANT_ID": "m" * 36}, "No real money moves in the sandbox"),
        ({"ZIBAL_MERCHANT": "shop"}, "No real money moves in the sandbox"),
        ({"PAYMENT_GATEWAY": "paypal"}, "PAYMENT_GATEWAY must be one of"),
        ({**PRODUCTION, "PAYMENT_GATEWAY": "sandbox"}, "PAYMENT_GATEWAY must be one of"),
        ({**PRODUCTION, "ZIBAL_BASE_URL": "http://gateway.zibal.ir"}, "over https://"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], words: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        settings_with(monkeypatch, **env)


SAID = "Payments here go to a sandbox: top-ups cost no real money."
PLAY = [
    {"ZARINPAL_SANDBOX": "true"},
    {"ZIBAL_MERCHANT": "zibal"},
    {"PAYMENT_GATEWAY": "zibal", "ZIBAL_MERCHANT": "zibal"},
    {"ZARINPAL_MERCHANT_ID": "m" * 36, "ZARINPAL_BASE_URL": "https://sandbox.zarinpal.com/"},
]


@pytest.mark.parametrize("play", PLAY)
def test_production_starts_with_a_payment_sandbox_only_where_a_setting_allows_it(
    monkeypatch: pytest.MonkeyPatch, play: dict[str, str]
) -> None:
    with pytest.raises(ImproperlyConfigured, match="set ALLOW_PAYMENT_SANDBOX=true"):
        settings_with(monkeypatch, **PRODUCTION, **play)
    read = settings_with(monkeypatch, **PRODUCTION, **play, ALLOW_PAYMENT_SANDBOX="true")
    assert read["PAYMENT_SANDBOXES"]


def test_production_with_real_merchants_has_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    real = {"ZARINPAL_MERCHANT_ID": "m" * 36, "ZIBAL_MERCHANT": "shop"}
    assert settings_with(monkeypatch, **PRODUCTION, **real)["PAYMENT_SANDBOXES"] == []


@pytest.mark.django_db
def test_a_payment_sandbox_in_production_is_said_on_every_page(client: Client, settings: Any) -> None:
    settings.SANDBOX, settings.PAYMENT_SANDBOXES = False, ["ZIBAL_MERCHANT=zibal"]
    settings.PAYMENT_GATEWAY = "none"
    settings.ALLOWED_HOSTS = ["testserver"]
    admin = admin_browser()
    for language in ("en", "fa"):
        for browser in (client, admin):
            browser.cookies["hamiran_language"] = language
        with translation.override(language):
            said = translation.gettext(SAID)
        for browser, page in (
            (client, "/"),
            (client, "/sign-in/"),
            (client, "/models/"),
            (client, "/nowhere/"),
            (client, "/admin/login/"),
            (admin, "/wallet/"),
            (admin, "/admin/"),
            (admin, "/admin/wallet/topup/"),
        ):
            assert said in browser.get(page).text
    with translation.override("en"):
        assert SAID in server_error(RequestFactory().get("/")).text
    settings.PAYMENT_SANDBOXES = []
    client.cookies["hamiran_language"] = "en"
    assert SAID not in client.get("/").text
