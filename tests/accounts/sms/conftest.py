"""Both providers on loopback, and settings that lead there."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.accounts.sms.servers import Kavenegar, Provider, SMSIr, running


@pytest.fixture
def kavenegar(settings: Any) -> Iterator[Provider]:
    with running(Kavenegar) as provider:
        settings.SMS_PROVIDER = "kavenegar"
        settings.KAVENEGAR_BASE_URL, settings.KAVENEGAR_API_KEY = provider.url, provider.key
        settings.KAVENEGAR_TEMPLATE, settings.KAVENEGAR_SENDER = "hamiran-login", ""
        yield provider


@pytest.fixture
def smsir(settings: Any) -> Iterator[Provider]:
    with running(SMSIr) as provider:
        settings.SMS_PROVIDER = "smsir"
        settings.SMSIR_BASE_URL, settings.SMSIR_API_KEY = provider.url, provider.key
        settings.SMSIR_TEMPLATE_ID, settings.SMSIR_LINE_NUMBER = 123456, 30004505000017
        yield provider


@pytest.fixture(params=["kavenegar", "smsir"])
def provider(request: pytest.FixtureRequest) -> Provider:
    """Each of them in turn."""
    found: Provider = request.getfixturevalue(request.param)
    return found
