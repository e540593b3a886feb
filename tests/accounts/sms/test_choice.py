"""Which provider sends: the settings say it, and say at the start what they lack."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from accounts.sms import sending
from tests.live import ROOT

PRODUCTION = {
    "HAMIRAN_MODE": "production", "SECRET_KEY": "k" * 60, "PEPPERS": "1:" + "p" * 32, "FIELD_KEYS": "f" * 32,
    "ALLOWED_HOSTS": "a.ir",
    "BASE_URL": "https://a.ir", "DATABASE_URL": "postgresql:///x?host=/nowhere", "REDIS_URL": "unix:///nowhere",
}  # fmt: skip
KAVENEGAR = {"SMS_PROVIDER": "kavenegar", "KAVENEGAR_API_KEY": "k", "KAVENEGAR_TEMPLATE": "t"}
SMSIR = {"SMS_PROVIDER": "smsir", "SMSIR_API_KEY": "k", "SMSIR_TEMPLATE_ID": "7"}


def settings_with(monkeypatch: pytest.MonkeyPatch, **env: str) -> dict[str, Any]:
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    return runpy.run_path(str(ROOT / "config" / "settings.py"))


@pytest.mark.parametrize("mode", [{}, PRODUCTION], ids=["sandbox", "production"])
@pytest.mark.parametrize("chosen", [KAVENEGAR, SMSIR, {"SMS_PROVIDER": "none"}])
def test_both_modes_take_a_real_provider_or_none(
    monkeypatch: pytest.MonkeyPatch, mode: dict[str, str], chosen: dict[str, str]
) -> None:
    read = settings_with(monkeypatch, **mode, **chosen)
    assert read["SMS_PROVIDER"] == chosen["SMS_PROVIDER"]
    assert (read["KAVENEGAR_BASE_URL"], read["SMSIR_BASE_URL"]) == (
        "https://api.kavenegar.com",
        "https://api.sms.ir",
    )


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (KAVENEGAR | {"KAVENEGAR_API_KEY": ""}, "KAVENEGAR_API_KEY and KAVENEGAR_TEMPLATE have to be set"),
        (KAVENEGAR | {"KAVENEGAR_TEMPLATE": " "}, "KAVENEGAR_API_KEY and KAVENEGAR_TEMPLATE have to be set"),
        (SMSIR | {"SMSIR_API_KEY": ""}, "SMSIR_API_KEY and SMSIR_TEMPLATE_ID have to be set"),
        (SMSIR | {"SMSIR_TEMPLATE_ID": ""}, "SMSIR_API_KEY and SMSIR_TEMPLATE_ID have to be set"),
        (SMSIR | {"SMSIR_TEMPLATE_ID": "login"}, "SMSIR_TEMPLATE_ID must be a whole number"),
        (KAVENEGAR | {"KAVENEGAR_BASE_URL": "http://api.kavenegar.com"}, "over https://"),
        ({"SMS_PROVIDER": "console"}, "SMS_PROVIDER must be one of"),
        ({"SMS_PROVIDER": "pigeon"}, "SMS_PROVIDER must be one of"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], words: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        settings_with(monkeypatch, **PRODUCTION, **env)


@pytest.mark.parametrize("name", ["KAVENEGAR_API_KEY", "SMSIR_API_KEY"])
def test_keys_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "key"
    secret.write_text("from-a-file\n")
    assert settings_with(monkeypatch, **{f"{name}_FILE": str(secret)})[name] == "from-a-file"


@pytest.mark.parametrize("name", ["none", "console"])
def test_outside_the_sandbox_the_console_is_no_provider(settings: Any, name: str) -> None:
    settings.SANDBOX, settings.SMS_PROVIDER = False, name
    assert not sending.is_console()
    with pytest.raises(sending.NotConfigured):
        sending.provider()


@pytest.mark.parametrize(
    ("name", "line", "warnings"), [("smsir", 0, 1), ("smsir", 3000, 0), ("kavenegar", 0, 0)]
)
def test_deployment_checks_warn_of_texts_that_no_line_sends(
    settings: Any, name: str, line: int, warnings: int
) -> None:
    settings.SMS_PROVIDER, settings.SMSIR_LINE_NUMBER = name, line
    found = checks.run_checks(include_deployment_checks=True)
    assert len([message for message in found if message.id == "accounts.W001"]) == warnings
