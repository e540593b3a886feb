"""Models and prices are those of the live catalogue, and the calculator counts to the last micro-Rial."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from proxy.catalogue.models import LanguageModel
from tests.proxy.factories import LanguageModelFactory, PriceFactory, RouteFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_else_on_sale() -> None:
    LanguageModel.objects.update(is_active=False)


@pytest.fixture
def english(client: Client) -> Client:
    client.cookies["hamiran_language"] = "en"
    return client


def put_on_sale(model_id: str, *, prices: tuple[int, int, int | None], **fields: Any) -> LanguageModel:
    model: LanguageModel = LanguageModelFactory.create(model_id=model_id, **fields)
    PriceFactory.create(
        model=model,
        input_rial_per_million=prices[0],
        output_rial_per_million=prices[1],
        cached_input_rial_per_million=prices[2],
    )
    RouteFactory.create(model=model)
    return model


def words(client: Client, **query: str) -> str:
    response = client.get(reverse("proxy:models"), query)
    assert response.status_code == 200
    return " ".join(re.sub("<[^>]*>", " ", response.text).split())


def test_each_model_has_its_prices_and_sizes(english: Client) -> None:
    put_on_sale("lab/large", prices=(300_000, 1_800_000, 75_000), context_tokens=128_000)
    put_on_sale("small", prices=(5, 20, None), max_output_tokens=512)
    shown = words(english)
    assert (
        "Input 30,000 Toman Cached input 7,500 Toman Output 180,000 Toman "
        "Context 128,000 tokens Longest answer 1,000 tokens"
    ) in shown
    assert "Input 0.5 Toman Cached input 0.5 Toman Output 2 Toman Context 8,000 tokens" in shown
    assert 'data-copy="#model-1"' in english.get(reverse("proxy:models")).text


def test_a_whole_list_is_shown_with_its_tiers_in_both_languages(client: Client) -> None:
    model = put_on_sale("whole", prices=(300_000, 1_800_000, 75_000))
    PriceFactory.create(
        model=model,
        valid_from=timezone.now(),
        input_rial_per_million=300_000,
        output_rial_per_million=1_800_000,
        further={
            "components": {"reasoning": 900_000, "request": 500},
            "tiers": [{"above_tokens": 200_000, "components": {"input": 600_000}}],
            "images": [{"size": "1024x1024", "quality": "hd", "rial": 40_000}],
        },
    )
    client.cookies["hamiran_language"] = "en"
    shown = words(client)
    assert (
        "Other prices Reasoning 90,000 Toman Request, each 50 Toman Image (1024x1024 hd) 4,000 Toman" in shown
    )
    assert "Prompts above 200,000 tokens Input 60,000 Toman" in shown
    assert "and other prices" in client.get("/").text
    # The calculator counts with the tier and with what each request costs.
    asked = {"model": "whole", "input": "200001", "cached": "0", "output": "0", "requests": "1"}
    assert "12,050.06 Toman" in words(client, **asked)
    client.cookies["hamiran_language"] = "fa"
    assert "۶۰٬۰۰۰" in words(client)


def test_descriptions_are_in_the_language_of_the_page_or_else_in_the_other(client: Client) -> None:
    put_on_sale("both", prices=(1, 1, None), description="Writes well", description_fa="خوب می‌نویسد")
    put_on_sale("one", prices=(1, 1, None), description="English alone")
    assert "خوب می‌نویسد" in words(client)
    assert "Writes well" not in words(client)
    assert "English alone" in words(client)
    client.cookies["hamiran_language"] = "en"
    assert "Writes well" in words(client)
    assert "خوب می‌نویسد" not in words(client)


def test_what_is_not_on_sale_is_not_shown(english: Client) -> None:
    put_on_sale("gone", prices=(1, 1, None), is_active=False)
    LanguageModelFactory.create(model_id="without-a-price")
    put_on_sale("here", prices=(1, 1, None))
    shown = words(english)
    assert "here" in shown
    assert "gone" not in shown
    assert "without-a-price" not in shown


def test_an_empty_catalogue_says_so_and_has_no_calculator(english: Client) -> None:
    shown = words(english, model="gone")
    assert "No model is on sale right now" in shown
    assert "What would it cost?" not in shown


def test_the_calculator_begins_with_an_example(english: Client) -> None:
    put_on_sale("m", prices=(300_000, 1_800_000, 75_000))
    shown = words(english)
    assert "120,000 Toman 120 Toman per request" in shown  # 1,000 × (1,000 × 0.03 + 500 × 0.18 Toman)


@pytest.mark.parametrize(
    ("asked", "total", "each"),
    [
        ({"input": "1000", "cached": "25", "output": "0", "requests": "1"}, "24.37 Toman", "24.37 Toman"),
        ({"input": "۱٬۰۰۰", "cached": "۱۰۰٪", "output": "۵۰۰", "requests": "۲"}, "195 Toman", "97.5 Toman"),
        ({"input": "0", "cached": "0", "output": "0", "requests": "5"}, "0 Toman", "0 Toman"),
        ({"input": "1", "cached": "0", "output": "0", "requests": "1"}, "0.03 Toman", "0.03 Toman"),
        (
            {"input": "1000000000", "cached": "0", "output": "1,000,000,000", "requests": "1 000 000 000"},
            "210,000,000,000,000,000 Toman",
            "210,000,000 Toman",
        ),
    ],
)
def test_the_calculator_is_exact(english: Client, asked: dict[str, str], total: str, each: str) -> None:
    put_on_sale("m", prices=(300_000, 1_800_000, 75_000))
    assert f"{total} {each} per request" in words(english, model="m", **asked)


def test_the_calculator_takes_the_model_that_was_chosen(english: Client) -> None:
    put_on_sale("a", prices=(10, 0, None))
    put_on_sale("b", prices=(20, 0, None))
    shown = words(english, model="b", input="1000000", cached="0", output="0", requests="1")
    assert "2 Toman 2 Toman per request" in shown


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("input", "-1", "Enter a whole number"),
        ("input", "1.5", "Enter a whole number"),
        ("output", "many", "Enter a whole number"),
        ("output", "²", "Enter a whole number"),
        ("input", "", "This field is required"),
        ("cached", "101", "too large"),
        ("output", "1000000001", "too large"),
        ("requests", "0", "too small"),
        ("requests", "9" * 41, "at most 40 characters"),
        ("input", "1\0", "Null characters are not allowed"),
        ("model", "unknown", "Select a valid choice"),
    ],
)
def test_a_wrong_figure_is_pointed_out_where_the_cost_would_be(
    english: Client, field: str, value: str, said: str
) -> None:
    put_on_sale("m", prices=(300_000, 1_800_000, None))
    response = english.get(reverse("proxy:models"), {field: value})
    cost = response.text.partition('id="cost"')[2]
    assert said in cost
    assert "a request<" not in cost


def test_a_model_id_is_never_markup(english: Client) -> None:
    put_on_sale("<script>alert(1)</script>", prices=(1, 1, None))
    for name in ("proxy:models", "proxy:reference"):
        assert "<script>alert" not in english.get(reverse(name)).text


@pytest.mark.parametrize("name", ["proxy:models", "proxy:reference"])
def test_the_public_pages_answer_get_and_head_alone(client: Client, name: str) -> None:
    assert client.head(reverse(name)).status_code == 200
    assert client.post(reverse(name)).status_code == 405
