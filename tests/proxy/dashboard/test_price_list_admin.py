"""A whole price list in the admin: one form, checked in words, and its effect on last week's usage before it counts."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from proxy.catalogue import served as catalogue
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.models import Price, PriceChange
from proxy.catalogue.prices.price_quote import ImagePrice, PriceQuote, Tier
from proxy.usage import repricing
from proxy.usage.models import UsageRecord
from tests.admin_browser import admin_browser
from tests.proxy.factories import PriceFactory, RouteFactory, UsageRecordFactory
from tests.proxy.test_admin import address, model_form, price_form

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@pytest.fixture
def browser() -> Client:
    return admin_browser()


@pytest.fixture
def model() -> LanguageModel:
    """On sale for 1,000 Toman in and 4,000 out."""
    price = PriceFactory.create(
        model=RouteFactory.create().model,
        valid_from=NOW - timedelta(days=900),
        input_rial_per_million=10_000,
        output_rial_per_million=40_000,
    )
    return LanguageModel.objects.get(pk=price.model_id)


def entered(model: LanguageModel, **fields: object) -> dict[str, object]:
    return price_form(model, **({"input_toman": 1_000, "output_toman": 4_000} | fields))


WHOLE = {
    "cached_input_toman": "1,100",
    "cache_write_1h_toman": "۲٬۰۰۰",
    "reasoning_toman": "3,000.5",
    "request_toman": 10,
    "tier1_above": "200,000",
    "tier1_input_toman": 2_000,
    "tier1_output_toman": 6_000,
    "tier2_above": "۳۰۰٬۰۰۰",
    "tier2_input_toman": 3_000,
    "image1_size": "1024x1024",
    "image1_quality": "hd",
    "image1_toman": 9_000,
    "image3_quality": "hd",
    "image3_toman": 8_000,
    "confirm_jump": "on",
}
LIST = PriceQuote(
    10_000,
    40_000,
    11_000,
    further={"cache_write_1h": 20_000, "reasoning": 30_005, "request": 100},
    tiers=(Tier(200_000, {"input": 20_000, "output": 60_000}), Tier(300_000, {"input": 30_000})),
    images=(ImagePrice(90_000, "1024x1024", "hd"), ImagePrice(80_000, "", "hd")),
)


def served(model: LanguageModel) -> PriceQuote:
    return catalogue.load(timezone.now())[model.model_id].price


def test_a_whole_list_is_entered_in_one_form_and_the_next_one_begins_with_it(
    browser: Client, model: LanguageModel
) -> None:
    page = browser.post(address(Price, "add"), entered(model, **WHOLE), follow=True).content.decode()
    assert "was added successfully" in page
    assert served(model) == LIST
    assert "reasoning 3,000.5 Toman (30,005 Rial)" in page
    assert "input above 200,000 tokens 2,000 Toman" in page
    again = browser.get(f"{address(Price, 'add')}?model={model.pk}")
    form = again.context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    sent = {name: value for name, value in shown.items() if isinstance(value, str) and name != "model"}
    browser.post(address(Price, "add"), price_form(model, **sent, confirm_jump="on"))
    newest = Price.objects.filter(model=model).latest("pk")
    assert catalogue.quote(newest) == LIST
    assert "reasoning" in browser.get(address(Price, "change", newest.pk)).content.decode()


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"reasoning_toman": -1}, "reasoning_toman", "Enter the price in Toman"),
        ({"reasoning_toman": "cheap"}, "reasoning_toman", "Enter the price in Toman"),
        ({"reasoning_toman": 10**30}, "reasoning_toman", "beyond what the system can charge"),
        ({"page_toman": 1_000_001}, "page_toman", "beyond what the system can charge"),
        ({"cached_input_toman": 10**12}, "cached_input_toman", "beyond what the system can charge"),
        ({"input_toman": ""}, "input_toman", "required"),
        ({"tier1_above": "many", "tier1_input_toman": 5}, "tier1_above", "whole number of tokens"),
        ({"tier1_above": "0", "tier1_input_toman": 5}, "tier1_above", "whole number of tokens"),
        ({"tier1_above": "-5", "tier1_input_toman": 5}, "tier1_above", "whole number of tokens"),
        ({"tier1_above": "9" * 30, "tier1_input_toman": 5}, "tier1_above", "whole number of tokens"),
        ({"tier1_above": "5"}, "tier1_above", "This tier has no price."),
        ({"tier1_input_toman": "5"}, "tier1_above", "Above how many tokens"),
        (
            {"tier1_above": 9, "tier1_input_toman": 5, "tier2_above": 8, "tier2_input_toman": 5},
            "tier2_above",
            "must begin above the one before it",
        ),
        (
            {"tier1_above": 9, "tier1_input_toman": 5, "tier2_above": 9, "tier2_output_toman": 5},
            "tier2_above",
            "must begin above the one before it",
        ),
        ({"image1_toman": 5}, "image1_toman", "size or the quality"),
        ({"image1_size": "s"}, "image1_toman", "what such an image costs"),
        (
            {"image1_size": "s", "image1_toman": 5, "image2_size": "s", "image2_toman": 6},
            "image2_toman",
            "have a price already",
        ),
    ],
)
def test_what_is_wrong_with_a_list_is_said_at_its_field_and_nothing_changes(
    browser: Client, model: LanguageModel, fields: dict[str, object], where: str, said: str
) -> None:
    form = entered(model, **fields, confirm_jump="on", confirm_free="on")
    errors = browser.post(address(Price, "add"), form).context["adminform"].form.errors
    assert where in errors
    assert said in " ".join(errors[where])
    assert served(model) == PriceQuote(10_000, 40_000)
    assert Price.objects.filter(model=model).count() == 1


def test_the_second_admin_decides_on_a_whole_list(browser: Client, model: LanguageModel) -> None:
    dear = entered(model, **{**WHOLE, "tier2_input_toman": "20,000,001"})
    said = browser.post(address(Price, "add"), dear, follow=True).content.decode()
    assert "waits for the approval of a second admin" in said
    assert "input above 300,000 tokens 20,000,001 Toman" in said
    assert served(model) == PriceQuote(10_000, 40_000)
    change = PriceChange.objects.get(model=model)
    second = admin_browser()
    assert "input above 300,000 tokens" in second.get(address(PriceChange, "changelist")).content.decode()
    chosen = {"action": "approve", "_selected_action": [str(change.pk)]}
    second.post(address(PriceChange, "changelist"), chosen)
    assert served(model).at(next(p for p in LIST.prices if p.above_tokens == 300_000)) == 200_000_010
    assert served(model).further == LIST.further


def test_a_list_that_gives_something_up_or_jumps_asks_first(browser: Client, model: LanguageModel) -> None:
    browser.post(address(Price, "add"), entered(model, **WHOLE))
    errors = browser.post(address(Price, "add"), entered(model)).context["adminform"].form.errors
    assert "Nothing would be charged for request" in " ".join(errors["confirm_free"])
    jump = entered(model, tier1_above=5, tier1_input_toman=50_000, request_toman=10)
    errors = browser.post(address(Price, "add"), jump).context["adminform"].form.errors
    assert "input above 5 tokens was 1,000 Toman" in " ".join(errors["confirm_jump"])


def test_a_models_own_page_drops_no_price_that_it_does_not_show(
    browser: Client, model: LanguageModel
) -> None:
    browser.post(address(Price, "add"), entered(model, **WHOLE))
    stored = list(Price.objects.filter(model=model).order_by("-valid_from"))
    rows = {f"prices-{n}-id": price.pk for n, price in enumerate(stored)}
    new = {
        "valid_from_0": "2026-02-01",
        "valid_from_1": "00:00:00",
        "input_toman": 1_000,
        "output_toman": 4_000,
    }
    form = model_form(
        **{
            "model_id": model.model_id,
            "prices-TOTAL_FORMS": 3,
            "prices-INITIAL_FORMS": 2,
            **rows,
            **{f"prices-2-{name}": value for name, value in new.items()},
        }
    )
    page = browser.post(address(LanguageModel, "change", model.pk), form).content.decode()
    assert "Change the whole list, on its own page." in page
    assert Price.objects.filter(model=model).count() == 2
    shown = browser.get(address(LanguageModel, "change", model.pk)).content.decode()
    assert f"{address(Price, 'add')}?model={model.pk}" in shown


# --- the preview ------------------------------------------------------------------------------------------------------


def used(model: LanguageModel, **fields: Any) -> UsageRecord:
    made: UsageRecord = UsageRecordFactory.create(**({"model": model.model_id} | fields))
    return made


def test_a_preview_shows_what_a_list_does_to_last_weeks_usage_and_stores_nothing(
    browser: Client, model: LanguageModel
) -> None:
    used(model, prompt_tokens=1_000_000, cached_tokens=0, completion_tokens=0, input_rial_per_million=10_000)
    form = entered(model, input_toman=1_500) | {"_preview": "1"}
    page = browser.post(address(Price, "add"), form)
    said = page.content.decode()
    assert page.status_code == 200
    for expected in (
        "What this does to last week",
        "1,000 Toman",
        "1,500 Toman",
        "500 Toman",
        "Nothing has been stored",
    ):
        assert expected in said
    assert "Please correct" not in said
    assert page.context["adminform"].form["input_toman"].value() == "1500"
    assert Price.objects.filter(model=model).count() == 1
    browser.cookies["hamiran_language"] = "fa"
    assert "۱٬۵۰۰" in browser.post(address(Price, "add"), form).content.decode()
    wrong = browser.post(address(Price, "add"), entered(model, input_toman="x") | {"_preview": "1"})
    assert 'id="preview"' not in wrong.content.decode()
    assert wrong.context["adminform"].form.errors


def test_an_effect_is_the_sum_of_every_request_at_the_new_list(model: LanguageModel) -> None:
    list_id = PriceFactory.create(model=model).pk
    new = PriceQuote(
        1,
        10,
        3,
        further={"reasoning": 100, "image": 7, "request": 5},
        tiers=(Tier(50, {"input": 2}), Tier(60, {"output": 20})),
        images=(ImagePrice(9, "s", "hd"),),
    )
    more = {"price_list_id": list_id, "cost_micro": 1}
    used(model, prompt_tokens=50, cached_tokens=10, completion_tokens=4)  # 40 + 30 + 40
    used(model, prompt_tokens=51, cached_tokens=10, completion_tokens=4)  # 82 + 30 + 40
    used(model, prompt_tokens=61, completion_tokens=4, quantities={"reasoning": 3}, **more)  # 122 + 20 + 300
    used(
        model, prompt_tokens=0, completion_tokens=0,
        quantities={"image": 2, "image_size": "s", "image_quality": "hd", "request": 1}, **more,
    )  # fmt: skip
    used(model, prompt_tokens=0, completion_tokens=0, quantities={"image": 1}, **more)
    used(model, billed_by="nothing", cost_micro=0, prompt_tokens=9)
    used(model, created_at=NOW - timedelta(days=8))
    UsageRecordFactory.create(model="another")
    effect = repricing.last_week(model_id=model.model_id, price=new, now=timezone.now())
    pieces = (2 * 9 + 1 * 7 + 5 * 5) * 1_000_000
    assert effect.requests == 5
    assert effect.after_micro == 110 + 152 + 442 + pieces
    charged = UsageRecord.objects.filter(model=model.model_id, created_at__gt=NOW - timedelta(days=1))
    assert effect.before_micro == sum(record.cost_micro for record in charged)
    assert effect.difference_micro == effect.after_micro - effect.before_micro
    plain = repricing.last_week(model_id=model.model_id, price=PriceQuote(0, 0), now=timezone.now())
    assert (plain.requests, plain.after_micro) == (5, 0)
    nobody = repricing.last_week(model_id="unknown", price=new, now=timezone.now())
    assert (nobody.requests, nobody.before_micro, nobody.after_micro) == (0, 0, 0)
