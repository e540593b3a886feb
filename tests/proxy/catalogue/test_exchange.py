"""Prices in dollars: rounded up to whole Rial, written anew by each new rate, and never repriced backwards."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalogue import exchange, offers, price_changes, rates
from proxy.catalogue import served as catalogue
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices import dollar_basis
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.models import ExchangeRate, Price, PriceChange
from proxy.catalogue.prices.price_quote import ImagePrice, PriceQuote, Tier
from tests.admin_browser import admin_browser
from tests.factories import UserFactory
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory
from tests.proxy.test_admin import address, price_form
from tests.wallet.test_database_rules import refused_by, sql

NOW = timezone.now()
RATE = 1_200_000
DOLLARS = PriceQuote(
    2_500_000,
    10_000_000,
    further={"reasoning": 1},
    tiers=(Tier(200_000, {"input": 5_000_000}),),
    images=(ImagePrice(40_000, "s"),),
)
BASIS = DollarBasis(DOLLARS, 1_000, RATE, NOW)
IN_RIAL = PriceQuote(
    3_300_000,
    13_200_000,
    further={"reasoning": 2},  # 1.32 Rial
    tiers=(Tier(200_000, {"input": 6_600_000}),),
    images=(ImagePrice(52_800, "s"),),
)


@pytest.fixture(autouse=True)
def no_other_rate(request: pytest.FixtureRequest) -> None:
    """What tests that commit have left behind is of no concern here."""
    if "django_db" in request.keywords:
        request.getfixturevalue("db")
        assert not ExchangeRate.objects.exists()
        LanguageModel.objects.update(is_active=False)


@pytest.fixture
def model() -> LanguageModel:
    found: LanguageModel = RouteFactory.create().model
    return found


def rate(rial: int = RATE, *, days: float = -10) -> ExchangeRate:
    return ExchangeRate.objects.create(rial_per_dollar=rial, valid_from=NOW + timedelta(days=days))


def in_dollars(model: LanguageModel, *, days: float = -9) -> Price:
    """A list in dollars, by the rate of its moment."""
    moment = NOW + timedelta(days=days)
    of_moment = rates.rate_at(moment)
    assert of_moment is not None
    basis = BASIS.at_rate(rial_per_dollar=of_moment.rial_per_dollar, rate_from=of_moment.valid_from)
    return offers.write_list(model=model, price=basis.in_rial(), valid_from=moment, basis=basis)


def at(model: LanguageModel, *, days: float) -> PriceQuote:
    price = offers.current_price(model=model, now=NOW + timedelta(days=days))
    assert price is not None
    return catalogue.quote(price)


# --- the arithmetic ------------------------------------------------------------------------------------------


def test_dollars_become_whole_rial_rounded_up() -> None:
    assert BASIS.in_rial() == IN_RIAL
    assert DollarBasis(PriceQuote(1, 0), 0, 1, NOW).in_rial() == PriceQuote(1, 0)


@given(st.integers(0, 10**9), st.integers(0, 100_000), st.integers(1, 10**9))
def test_a_price_in_rial_is_never_below_the_dollars_and_less_than_one_above(
    micro: int, markup: int, rial_per_dollar: int
) -> None:
    exact = micro * rial_per_dollar * (10_000 + markup)  # in 10^-10 Rial
    try:
        got = DollarBasis(PriceQuote(micro, 0), markup, rial_per_dollar, NOW).in_rial().input_rial_per_million
    except ValueError:
        assert exact > 10**9 * 10**10
    else:
        assert 0 <= got * 10**10 - exact < 10**10


def test_a_basis_comes_back_as_it_was_stored_and_nothing_else_is_one() -> None:
    assert dollar_basis.read(dollar_basis.stored(BASIS)) == BASIS
    of_nothing: Any = dollar_basis.stored(BASIS)
    wrongs: list[Any] = [{}, [], "text", {**of_nothing, "rial_per_dollar": 0}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"basis|dollar"):
            dollar_basis.read(wrong)


# --- a new rate ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_new_rate_writes_new_lists_from_its_moment_on_and_leaves_the_past(model: LanguageModel) -> None:
    rate()
    in_dollars(model)
    in_toman = PriceFactory.create(valid_from=NOW - timedelta(days=9))
    exchange.publish(rial_per_dollar=2 * RATE, valid_from=NOW + timedelta(days=5))
    assert at(model, days=4.9) == IN_RIAL
    assert at(model, days=5).input_rial_per_million == 6_600_000
    assert at(model, days=5).at(next(iter(IN_RIAL.prices))) == 6_600_000
    newest = Price.objects.filter(model=model).latest("valid_from")
    basis = dollar_basis.read(newest.dollar_basis)
    assert basis is not None
    assert (basis.rial_per_dollar, basis.rate_from, basis.dollars) == (2 * RATE, newest.valid_from, DOLLARS)
    assert Price.objects.filter(model=in_toman.model).count() == 1


@pytest.mark.django_db
def test_a_rate_of_the_past_holds_from_now_on(model: LanguageModel) -> None:
    rate()
    in_dollars(model)
    before = timezone.now()
    assert exchange.publish(rial_per_dollar=RATE + 1, valid_from=NOW - timedelta(days=3)).valid_from >= before
    assert at(model, days=-1) == IN_RIAL


@pytest.mark.django_db
def test_lists_that_begin_later_are_written_anew_as_well(model: LanguageModel) -> None:
    rate()
    in_dollars(model)
    PriceFactory.create(model=model, valid_from=NOW + timedelta(days=6))  # for a while in Toman
    in_dollars(model, days=8)
    exchange.publish(rial_per_dollar=2 * RATE, valid_from=NOW + timedelta(days=5))
    assert at(model, days=5).input_rial_per_million == 6_600_000
    assert at(model, days=7).input_rial_per_million == 1_000
    assert at(model, days=9).input_rial_per_million == 6_600_000


@pytest.mark.django_db
def test_a_new_list_is_written_for_rates_to_come_up_to_the_next_list(model: LanguageModel) -> None:
    rate()
    rate(2 * RATE, days=5)
    rate(3 * RATE, days=10)
    PriceFactory.create(model=model, valid_from=NOW + timedelta(days=7))
    rates.follow(in_dollars(model))
    assert at(model, days=1) == IN_RIAL
    assert at(model, days=5).input_rial_per_million == 6_600_000
    assert at(model, days=11).input_rial_per_million == 1_000


@pytest.mark.django_db
def test_rates_come_one_after_another(model: LanguageModel) -> None:
    rate(days=5)
    with pytest.raises(exchange.NotTheNewest):
        exchange.publish(rial_per_dollar=RATE, valid_from=NOW + timedelta(days=4))
    assert ExchangeRate.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("rial", [RATE * 100, 10**9])
def test_a_rate_that_takes_a_price_out_of_the_bounds_is_refused(model: LanguageModel, rial: int) -> None:
    rate()
    in_dollars(model)
    with pytest.raises(exchange.BeyondBounds) as refusal:
        exchange.publish(rial_per_dollar=rial, valid_from=NOW + timedelta(days=1))
    assert refusal.value.models == [model.model_id]
    assert (ExchangeRate.objects.count(), Price.objects.filter(model=model).count()) == (1, 1)


# --- the admin ------------------------------------------------------------------------------------------


def rate_form(rial: object, **fields: object) -> dict[str, object]:
    moment = timezone.localtime(NOW + timedelta(days=2))
    shown = {"valid_from_0": f"{moment:%Y-%m-%d}", "valid_from_1": f"{moment:%H:%M:%S}"}
    return {"rial_per_dollar": rial, **shown, **fields}


@pytest.mark.django_db
def test_what_a_rate_changes_is_shown_before_it_is_published(model: LanguageModel) -> None:
    rate()
    in_dollars(model)
    browser, path = admin_browser(), address(ExchangeRate, "add")
    page = browser.post(path, rate_form("1,320,000"))
    said = page.content.decode()
    for expected in (
        "What this rate changes",
        model.model_id,
        "363,000 Toman, before 330,000 Toman",
        "Nothing has been",
    ):
        assert expected in said
    assert "Please correct" not in said
    assert (ExchangeRate.objects.count(), Price.objects.filter(model=model).count()) == (1, 1)
    seen = page.context["adminform"].form["seen"].value()
    other = browser.post(
        path, rate_form("1,300,000", seen=seen)
    )  # another rate than the one that was looked at
    assert "What this rate changes" in other.content.decode()
    assert browser.post(path, rate_form("۱٬۳۲۰٬۰۰۰", seen=seen)).status_code == 302
    assert at(model, days=3).input_rial_per_million == 3_630_000
    assert at(model, days=1) == IN_RIAL
    assert "1,320,000" in browser.get(address(ExchangeRate, "changelist")).content.decode()
    stored = ExchangeRate.objects.latest("valid_from")
    assert browser.post(address(ExchangeRate, "change", stored.pk), {"rial_per_dollar": 5}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rial", "said"),
    [
        (0, "at least 1"),
        (-1, "at least 1"),
        ("", "required"),
        ("dear", "at least 1"),
        ("1.5", "at least 1"),
        (10**9 + 1, "at least 1"),
        (10**30, "at least 1"),
        (RATE // 10, "five times higher"),
        (RATE * 10, "five times higher"),
    ],
)
def test_a_rate_that_cannot_be_is_said_and_changes_nothing(
    model: LanguageModel, rial: object, said: str
) -> None:
    rate()
    in_dollars(model)
    page = admin_browser().post(address(ExchangeRate, "add"), rate_form(rial))
    errors = page.context["adminform"].form.errors
    assert said in " ".join(text for texts in errors.values() for text in texts)
    assert (ExchangeRate.objects.count(), Price.objects.filter(model=model).count()) == (1, 1)


@pytest.mark.django_db
def test_a_rate_that_puts_models_out_of_bounds_names_them(model: LanguageModel) -> None:
    rate()
    in_dollars(model)
    page = admin_browser().post(address(ExchangeRate, "add"), rate_form(RATE * 100, confirm_jump="on"))
    assert f"need a second admin or could not be charged: {model.model_id}." in page.content.decode()


def dollar_list(browser: Client, model: LanguageModel, **fields: object) -> Any:
    moment = timezone.localtime(NOW)
    form = {
        **price_form(model),
        "valid_from_0": f"{moment:%Y-%m-%d}",
        "valid_from_1": f"{moment:%H:%M:%S}",
        "input_toman": "2.5",
        "output_toman": "۱۰",
        "reasoning_toman": "0.000001",
        "tier1_above": "200,000",
        "tier1_input_toman": "5",
        "image1_size": "s",
        "image1_toman": "0.04",
        "markup_percent": "10",
        "confirm_jump": "on",
        **fields,
    }
    return browser.post(f"{address(Price, 'add')}?basis=dollars", form)


@pytest.mark.django_db
def test_a_list_is_given_in_dollars_and_shown_with_its_rate(model: LanguageModel, client: Client) -> None:
    rate()
    browser = admin_browser()
    assert dollar_list(browser, model, reasoning_toman="").status_code == 302
    LanguageModel.objects.filter(pk=model.pk).update(is_active=True)
    served = catalogue.load(timezone.now())[model.model_id]
    assert served.price.input_rial_per_million == 3_300_000
    assert served.dollar_basis is not None
    assert served.dollar_basis.markup_basis_points == 1_000
    path = f"{address(Price, 'add')}?model={model.pk}&basis=dollars"
    listed = browser.get(address(Price, "changelist")).content.decode()
    assert "input 2.5 and output 10 US dollars, plus 10%, at 1,200,000 Rial" in listed
    form = browser.get(path).context["adminform"].form
    assert (form["input_toman"].value(), form["image1_toman"].value()) == ("2.5", "0.04")
    assert (form["markup_percent"].value(), form["tier1_above"].value()) == ("10", "200,000")
    client.cookies["hamiran_language"] = "en"
    page = " ".join(client.get("/models/").content.decode().split())
    assert (
        "Based on 2.5 US dollars for input and 10 for output, plus 10%, at 1,200,000 Rial per dollar" in page
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input_toman": "2.1234567"}, "six decimal digits"),
        ({"input_toman": "-1"}, "six decimal digits"),
        ({"input_toman": "much"}, "six decimal digits"),
        ({"input_toman": "1000.1"}, "beyond what the system can charge"),
        ({"input_toman": "1000", "markup_percent": "1000"}, "beyond what the system can charge"),
        ({"markup_percent": "-1"}, "Enter per cent"),
        ({"markup_percent": "1000.01"}, "Enter per cent"),
        ({"markup_percent": "ten"}, "Enter per cent"),
        ({"valid_from_0": "2001-01-01"}, "No exchange rate holds"),
    ],
)
def test_what_is_no_list_in_dollars_is_said(
    model: LanguageModel, fields: dict[str, object], said: str
) -> None:
    rate()
    errors = dollar_list(admin_browser(), model, **fields).context["adminform"].form.errors
    assert said in " ".join(text for texts in errors.values() for text in texts)
    assert not Price.objects.filter(model=model).exists()


@pytest.mark.django_db
def test_a_list_in_dollars_that_waits_is_decided_at_the_rate_that_was_asked_for(model: LanguageModel) -> None:
    rate()
    browser = admin_browser()
    dollar_list(browser, model)  # reasoning is below the minimum
    change = PriceChange.objects.get(model=model)
    rate(RATE + 1, days=-0.5)
    with pytest.raises(rates.RateChanged):
        price_changes.approve(change_id=change.pk, admin_id=UserFactory.create().pk)
    chosen = {"action": "approve", "_selected_action": [str(change.pk)]}
    said = admin_browser().post(address(PriceChange, "changelist"), chosen, follow=True).content.decode()
    assert "The exchange rate has changed since." in said
    price_changes.reject(change_id=change.pk)
    dollar_list(browser, model)
    price_changes.approve(
        change_id=PriceChange.objects.get(model=model, state="pending").pk, admin_id=UserFactory.create().pk
    )
    basis = dollar_basis.read(Price.objects.get(model=model).dollar_basis)
    assert basis is not None
    assert basis.rial_per_dollar == RATE + 1


# --- the rows ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_database_keeps_rates_and_refuses_bad_ones() -> None:
    stored = rate()
    for rial in (0, 10**9 + 1):
        assert refused_by(ExchangeRate(rial_per_dollar=rial, valid_from=NOW).save) == "exchangerate_bounded"
    for statement in (
        "UPDATE proxy_exchangerate SET rial_per_dollar = 1",
        "DELETE FROM proxy_exchangerate",
        "TRUNCATE proxy_exchangerate",
    ):
        assert refused_by(sql(statement)) == "exchangerate_write_once"
    assert refused_by(ExchangeRate(rial_per_dollar=1, valid_from=stored.valid_from).save)
    wrong = Price(
        model=LanguageModelFactory.create(),
        input_rial_per_million=1,
        output_rial_per_million=1,
        dollar_basis=[1],
    )
    assert refused_by(wrong.save) == "price_dollar_basis_is_object"
