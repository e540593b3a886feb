"""Webhooks are told of prices to come, whichever way they are entered, and of none that holds already."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.signals.models import WebhookEndpoint
from proxy.catalogue import exchange, offers
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import Price, PriceChange
from proxy.catalogue.prices.price_quote import PriceQuote
from tests.accounts.signals.told import told
from tests.admin_browser import admin_browser
from tests.factories import WebhookEndpointFactory
from tests.proxy.catalogue.test_price_changes import add, decide
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory

pytestmark = pytest.mark.django_db
TOMORROW = timezone.now() + timedelta(days=1)


@pytest.fixture
def endpoint() -> WebhookEndpoint:
    made: WebhookEndpoint = WebhookEndpointFactory.create(events=["price.announced"])
    return made


@pytest.fixture
def model() -> LanguageModel:
    price = PriceFactory.create(
        model=RouteFactory.create().model,
        valid_from=timezone.now() - timedelta(days=900),
        input_rial_per_million=10_000,
        output_rial_per_million=40_000,
    )
    return LanguageModel.objects.get(pk=price.model_id)


def test_a_price_to_come_is_told_as_the_public_list_has_it(
    endpoint: WebhookEndpoint, model: LanguageModel
) -> None:
    offers.set_price(model=model, price=PriceQuote(20_000, 50_000), valid_from=TOMORROW)
    ((event, data),) = told(endpoint)
    assert event == "price.announced"
    assert data["model"] == model.model_id
    assert data["pricing"]["per_million"] == {"input": 2_000, "output": 5_000}
    assert data["pricing"]["valid_from"].startswith(TOMORROW.date().isoformat())


def test_a_price_that_holds_at_once_and_one_of_a_model_off_sale_are_not(
    endpoint: WebhookEndpoint, model: LanguageModel
) -> None:
    offers.set_price(model=model, price=PriceQuote(20_000, 50_000))
    off_sale = LanguageModelFactory.create(is_active=False)
    offers.set_price(model=off_sale, price=PriceQuote(20_000, 50_000), valid_from=TOMORROW)
    assert told(endpoint) == []


def later(**fields: Any) -> dict[str, Any]:
    return {"valid_from_0": f"{TOMORROW + timedelta(days=1):%Y-%m-%d}", "input_toman": 1_100, **fields}


def test_one_that_an_admin_enters_is_told_and_one_that_waits_once_it_is_approved(
    endpoint: WebhookEndpoint, model: LanguageModel
) -> None:
    add(admin_browser(), model, **later(output_toman=4_000))
    assert [data["pricing"]["per_million"]["input"] for _event, data in told(endpoint)] == [1_100]
    add(admin_browser(), model, **later(output_toman="20,000,001", valid_from_1="01:00:00"))
    change = PriceChange.objects.get(model=model)
    assert len(told(endpoint)) == 1
    decide(admin_browser(), change)
    assert [data["pricing"]["per_million"]["output"] for _event, data in told(endpoint)] == [
        4_000,
        20_000_001,
    ]


def test_a_rate_to_come_tells_of_the_prices_it_makes(endpoint: WebhookEndpoint, model: LanguageModel) -> None:
    now = timezone.now()
    exchange.publish(rial_per_dollar=1_000_000, valid_from=now)
    basis = DollarBasis(PriceQuote(1_000_000, 2_000_000), 0, 1_000_000, now)
    offers.set_price(model=model, price=basis.in_rial(), basis=basis)
    assert told(endpoint) == []
    exchange.publish(rial_per_dollar=1_100_000, valid_from=TOMORROW)
    ((_event, data),) = told(endpoint)
    assert data["pricing"]["dollar_basis"]["toman_per_dollar"] == 110_000
    assert Price.objects.filter(model=model, valid_from=TOMORROW).count() == 1
