"""Both providers on loopback, and settings that lead there."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.wallet.payments.gateways.servers import Provider, Zarinpal, Zibal, running


@pytest.fixture
def zarinpal(settings: Any) -> Iterator[Provider]:
    with running(Zarinpal) as provider:
        settings.PAYMENT_GATEWAY = "zarinpal"
        settings.ZARINPAL_BASE_URL, settings.ZARINPAL_MERCHANT_ID = provider.url, Zarinpal.merchant
        yield provider


@pytest.fixture
def zibal(settings: Any) -> Iterator[Provider]:
    with running(Zibal) as provider:
        settings.PAYMENT_GATEWAY = "zibal"
        settings.ZIBAL_BASE_URL, settings.ZIBAL_MERCHANT = provider.url, Zibal.merchant
        yield provider


@pytest.fixture(params=["zarinpal", "zibal"])
def provider(request: pytest.FixtureRequest) -> Provider:
    """Each of them in turn."""
    found: Provider = request.getfixturevalue(request.param)
    return found
