"""The reference has every word of the public contract, and what it tells of models, tiers and errors is live."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts.models import Tier, User
from keys import lifecycle
from proxy.advice import ADVICE
from proxy.catalogue import starter
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.models import Price
from proxy.errors import ERRORS
from proxy.limits.admission import Admission, Limits
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

CONTRACT = (Path(__file__).parent / "api_reference.txt").read_text()
# Marks of the contract's tabs and code boxes, which are pictures and no words.
TAB_MARK = re.compile(r"^(?:\$|Py|JS|PHP) (?=cURL|Python|Node|PHP)")
CODE_BOXES = {"bash", "python", "javascript", "php"}


class Page(HTMLParser):
    """The words of a page without white space, which a table and a sentence space differently; its ids and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if found := given.get("id"):
            self.ids.append(found)
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)

    def handle_data(self, data: str) -> None:
        self.words += close_up(data)

    def say(self, text: str) -> bool:
        return close_up(text) in self.words


def close_up(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.fixture(autouse=True)
def catalogue() -> None:
    """The starter models alone are on sale, whatever other tests have committed."""
    LanguageModel.objects.update(is_active=False)
    starter.load()
    LanguageModel.objects.filter(model_id=starter.MODEL_ID).update(is_active=True)


@pytest.fixture
def english(client: Client) -> Client:
    client.cookies["hamiran_language"] = "en"
    return client


def page(client: Client) -> Page:
    response = client.get(reverse("proxy:reference"))
    assert response.status_code == 200
    return Page(response.text)


def codes(client: Client) -> list[str]:
    return re.findall(r"<pre.*?</pre>", client.get(reverse("proxy:reference")).text, re.DOTALL)


# --- the contract ------------------------------------------------------------------------------------------------


def test_every_line_of_the_contract_stands_on_the_page(english: Client, settings: Any) -> None:
    shown = page(english)
    lines = [TAB_MARK.sub("", line.strip()) for line in CONTRACT.splitlines()]
    lines = [line for line in lines if line and line not in CODE_BOXES]
    assert len(lines) > 150
    missing = [
        line for line in lines if not shown.say(line.replace("https://ham-iran.ir", settings.BASE_URL))
    ]
    assert missing == []


def test_every_error_of_the_api_is_on_the_page_with_what_to_do(english: Client) -> None:
    shown = page(english)
    assert set(ADVICE) == set(ERRORS)
    for code, (status, kind, message) in ERRORS.items():
        assert shown.say(f"{status} {code} {kind} {message} {ADVICE[code]}")
        assert f"error-{code}" in shown.ids


def test_every_rate_header_is_explained(english: Client) -> None:
    shown = page(english)
    for header in Admission(0, 0, 0, 0, 0).headers(Limits(1, 1, None, 1, 1)):
        assert shown.say(header)


def test_the_table_of_contents_and_all_deep_links_lead_somewhere(english: Client) -> None:
    shown = page(english)
    assert len(shown.ids) == len(set(shown.ids))
    inside = [link.removeprefix("#") for link in shown.links if link.startswith("#")]
    assert len(inside) > 30
    assert set(inside) <= set(shown.ids)
    assert "/v1/openapi.json" in shown.links


def test_it_is_persian_by_default_and_its_code_is_the_same(client: Client) -> None:
    text = client.get(reverse("proxy:reference")).text
    assert '<html lang="fa" dir="rtl">' in text
    persian = codes(client)
    client.cookies["hamiran_language"] = "en"
    assert [re.sub("<[^>]*>", "", code) for code in persian] == [
        re.sub("<[^>]*>", "", code) for code in codes(client)
    ]


# --- what is live ------------------------------------------------------------------------------------------------


def test_models_and_prices_are_those_of_the_catalogue(english: Client) -> None:
    model = LanguageModel.objects.get(model_id=starter.MODEL_ID)
    model.description, model.context_tokens = "Knows a lot", 64_000
    model.save()
    Price.objects.create(model=model, input_rial_per_million=1_230, output_rial_per_million=45_600)
    shown = page(english)
    assert shown.say(f"{starter.MODEL_ID} Knows a lot 64,000 8,192 123 Toman 4,560 Toman")
    assert shown.say('"cost_toman": 0.042516')  # 12 × 1,230 + 9 × 45,600 micro-Rial


def test_the_examples_name_a_model_that_is_on_sale(english: Client) -> None:
    LanguageModel.objects.filter(model_id=starter.MODEL_ID).update(model_id="another/model")
    assert page(english).say('"model": "another/model"')
    assert starter.MODEL_ID not in english.get(reverse("proxy:reference")).text


def test_the_examples_name_a_model_that_chats(english: Client) -> None:
    LanguageModel.objects.filter(model_id="hamiran-embedding").update(model_id="a/embedding")
    shown = page(english)
    assert shown.say(f'"model": "{starter.MODEL_ID}"')
    assert not shown.say('"model": "a/embedding"')


def test_without_a_model_on_sale_it_says_so(english: Client) -> None:
    LanguageModel.objects.update(is_active=False)
    assert page(english).say("No model is on sale right now")


def test_tiers_are_those_of_the_database(english: Client) -> None:
    Tier.objects.filter(name="Standard").update(rpm=77, tpm=1_234_567, concurrency=9)
    Tier.objects.create(name="Partner", rpm=5_000, tpm=9_000_000)
    shown = page(english)
    assert shown.say("Free 10 requests/min 20,000 tokens/min no limit no limit new accounts")
    assert shown.say(
        "Standard 77 requests/min 1,234,567 tokens/min no limit 9 accounts that have paid in 100,000 Toman or more"
    )
    assert shown.say("Partner 5,000 requests/min 9,000,000 tokens/min no limit no limit by agreement")


def test_the_base_url_is_this_installations(english: Client, settings: Any) -> None:
    settings.BASE_URL = "https://llm.example.ir"
    shown = page(english)
    assert shown.say("curl https://llm.example.ir/v1/chat/completions")
    assert not shown.say("ham-iran.ir")


@pytest.mark.parametrize(
    "promise",
    [
        "You never pay more than was held.",
        "If you leave before the first word, the model is stopped and you pay nothing",
        "waits up to 3 seconds for the model's own figures",
        "A streamed answer may take 80 seconds in all, one that comes as a whole 45.",
        "after 7 seconds without a byte, or 90 seconds in all, you get 408 request_timeout",
        "200,000 objects and arrays, 1,000,000 values and 128 levels of nesting",
        "16 bytes per token or 1 MB per request of the key's limits, whichever is more, and always to at least 20 MB",
        "takes effect everywhere within 5 seconds; a changed cap does so at once",
        "Beyond the cap, requests get 402 key_limit_reached",
        "A payment is credited once",
        "Prompts and answers are never stored and never logged.",
    ],
)
def test_it_says_what_users_can_rely_on_with_this_installations_figures(
    english: Client, settings: Any, promise: str
) -> None:
    settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS, settings.UPSTREAM_STREAM_TIMEOUT_SECONDS = 45, 80
    settings.BODY_IDLE_TIMEOUT_SECONDS, settings.BODY_TOTAL_TIMEOUT_SECONDS = 7, 90
    shown = page(english)
    assert shown.say(promise)
    assert "promises" in shown.ids


# --- who reads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


def test_a_stranger_sees_a_key_that_is_none(english: Client) -> None:
    shown = page(english)
    assert shown.words.count("hm-your-api-key") == 12  # the header, and each example whole and streamed
    assert reverse("keys:create") in shown.links


def test_examples_have_the_hint_of_ones_newest_working_key(english: Client, user: User) -> None:
    lifecycle.create(user_id=user.pk, name="old")
    newest = lifecycle.create(user_id=user.pk, name="bookshop")
    revoked = lifecycle.create(user_id=user.pk, name="leaked")
    lifecycle.revoke(user_id=user.pk, key_id=revoked.key_id)
    lifecycle.create(user_id=UserFactory.create().pk, name="somebody else's")
    english.force_login(user)
    shown = page(english)
    assert shown.words.count(f"Bearerhm-…{newest.last_four}") == 8
    assert shown.say("stands for your key “bookshop”")
    assert not shown.say("hm-your-api-key")
    assert newest.secret not in english.get(reverse("proxy:reference")).text


def test_ones_own_tier_is_marked(english: Client, user: User) -> None:
    english.force_login(user)
    shown = page(english)
    assert shown.say("Free yours 10 requests/min")
    assert shown.say("Standard 60 requests/min")
    assert shown.say("hm-your-api-key")


def test_the_ceiling_of_an_account_is_that_of_ones_own_tier(english: Client, user: User) -> None:
    Tier.objects.filter(name="Free").update(account_factor=3)
    user.tier = Tier.objects.create(name="Partner", rpm=5_000, tpm=9_000_000, account_factor=8)
    user.save()
    assert page(english).say("all keys of an account may use 3 times")
    english.force_login(user)
    assert page(english).say("all keys of an account may use 8 times")


@pytest.mark.parametrize(("cookie", "chosen"), [("php", "php"), ("", "curl"), ('"><script>', "curl")])
def test_the_page_opens_with_the_language_that_was_chosen_before(
    english: Client, cookie: str, chosen: str
) -> None:
    english.cookies["hamiran_example"] = cookie
    text = english.get(reverse("proxy:reference")).text
    assert re.findall(r'<input type="radio" name="example" value="(\w+)" checked>', text) == [chosen]


def test_the_page_takes_few_queries(
    english: Client, user: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    english.force_login(user)
    with django_assert_max_num_queries(9):
        english.get(reverse("proxy:reference"))
