"""What a route costs the operator: by its own prices, in dollars or Rial, unless its upstream says what it charges."""

import pytest

from proxy.catalogue.models import LanguageModel, Route
from proxy.catalogue.prices import price_entry, upstream_price
from proxy.catalogue.prices.by_piece import Used
from proxy.catalogue.prices.price_quote import PriceQuote, Tier
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.prices.upstream_price import DOLLARS, RIAL, UpstreamPrice
from proxy.catalogue.served import load
from tests.admin_browser import admin_browser
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory, UpstreamFactory
from tests.proxy.test_admin import address, model_form
from tests.wallet.test_database_rules import refused_by

IN_DOLLARS = UpstreamPrice(
    DOLLARS,
    PriceQuote(
        2_500_000, 10_000_000, further={"request": 5_000}, tiers=(Tier(200_000, {"input": 5_000_000}),)
    ),
)


def test_a_cost_in_dollars_is_whole_nanodollars_rounded_up() -> None:
    def nanodollars(usage: Usage) -> int | None:
        kept = upstream_price.cost_columns(IN_DOLLARS, Used(usage), reported_nanodollars=None)
        return kept["upstream_cost_nanodollars"]

    # 1,000 tokens at 2.5 dollars per million, 100 at 10, and half a cent for the request
    assert nanodollars(Usage(1_000, 100)) == 2_500_000 + 1_000_000 + 5_000_000
    assert nanodollars(Usage(200_001, 0)) == 200_001 * 5_000 + 5_000_000
    cheap = UpstreamPrice(DOLLARS, PriceQuote(1, 1))
    kept = upstream_price.cost_columns(cheap, Used(Usage(1, 0)), reported_nanodollars=None)
    assert kept == {"upstream_cost_nanodollars": 1}


def test_a_cost_in_rial_is_micro_rial_and_a_reported_one_comes_first() -> None:
    in_rial = UpstreamPrice(RIAL, PriceQuote(300, 900))
    assert upstream_price.cost_columns(in_rial, Used(Usage(10, 2)), reported_nanodollars=None) == {
        "upstream_cost_micro": 10 * 300 + 2 * 900
    }
    assert upstream_price.cost_columns(in_rial, Used(Usage(10, 2)), reported_nanodollars=7) == {
        "upstream_cost_nanodollars": 7
    }
    assert upstream_price.cost_columns(None, Used(Usage(10, 2)), reported_nanodollars=None) == {
        "upstream_cost_nanodollars": None
    }


def test_prices_come_back_as_they_were_stored_and_typed() -> None:
    assert upstream_price.read(upstream_price.stored(IN_DOLLARS)) == IN_DOLLARS
    typed = price_entry.lines(IN_DOLLARS.price, in_dollars=True)
    assert typed == "input=2.5\noutput=10\nrequest=0.005\ninput=5@200000"
    read = price_entry.price_list(typed.splitlines(), flags={}, amount_of=price_entry.micro_dollars)
    assert read == IN_DOLLARS.price
    assert upstream_price.read(None) is None


@pytest.mark.parametrize(
    "stored",
    [[], {"components": {"input": 1}}, {"currency": "eur", "components": {"input": 1}}, {"currency": "usd"}],
)
def test_other_shapes_are_refused(stored: object) -> None:
    with pytest.raises(ValueError, match="price"):
        upstream_price.read(stored)


@pytest.mark.django_db
def test_an_admin_enters_them_with_the_route_and_sees_them_again() -> None:
    browser, upstream = admin_browser(), UpstreamFactory.create()
    route = {
        "upstream": upstream.pk,
        "upstream_model": "there",
        "protocols": ["chat"],
        "priority": 100,
        "weight": 1,
        "upstream_currency": "usd",
        "upstream_price_lines": "input=2.5\r\n output=10 \r\n\r\ninput=۵@200,000\r\nrequest=0.005",
    }
    fields = {f"routes-0-{name}": value for name, value in route.items()}
    form = model_form(**{"model_id": "priced-there", "routes-TOTAL_FORMS": 1, **fields})
    assert browser.post(address(LanguageModel, "add"), form).status_code == 302
    model = LanguageModel.objects.get(model_id="priced-there")
    PriceFactory.create(model=model)
    [served] = load(model.prices.get().valid_from)["priced-there"].routes
    assert served.upstream_price == IN_DOLLARS
    page = browser.get(address(LanguageModel, "change", model.pk)).content.decode()
    assert "input=2.5\noutput=10\nrequest=0.005\ninput=5@200000" in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    "typed", ["input", "output=5", "input=-1", "input=1.2345678", "input=much", "input=1\ninput=2", "water=1",
              "input=9999999999", "input=1\ninput=2@5\ninput=3@5"]
)  # fmt: skip
def test_what_is_no_list_of_prices_is_said_and_changes_nothing(typed: str) -> None:
    route = {
        "upstream": UpstreamFactory.create().pk,
        "upstream_model": "there",
        "protocols": ["chat"],
        "priority": 100,
        "weight": 1,
        "upstream_price_lines": typed,
    }
    fields = {f"routes-0-{name}": value for name, value in route.items()}
    form = model_form(**{"model_id": "refused", "routes-TOTAL_FORMS": 1, **fields})
    page = admin_browser().post(address(LanguageModel, "add"), form).content.decode()
    assert "Enter one price per line" in page
    assert not LanguageModel.objects.filter(model_id="refused").exists()


@pytest.mark.django_db
def test_a_route_whose_prices_cannot_be_read_still_serves(caplog: pytest.LogCaptureFixture) -> None:
    route = RouteFactory.create(upstream_prices={"currency": "of a later version"})
    price = PriceFactory.create(model=route.model)
    assert load(price.valid_from)[route.model.model_id].routes[0].upstream_price is None
    assert "is not known" in caplog.text
    wrong = Route(
        model=LanguageModelFactory.create(), upstream=route.upstream, upstream_model="m", upstream_prices=[1]
    )
    assert refused_by(wrong.save) == "route_upstream_prices_are_object"
