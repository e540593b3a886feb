"""The front page, the language switch and the error pages."""

import html
import json
import re
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import get_template
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django import DjangoAssertNumQueries

import config.urls
from accounts import opening
from accounts.models import Tier
from accounts.session_store import SessionStore
from config.pages import front
from proxy.catalogue import offers
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.price_quote import PriceQuote
from tests.proxy.factories import PriceFactory, RouteFactory

pytestmark = pytest.mark.django_db


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken on purpose")


def forbidden(request: HttpRequest) -> HttpResponse:
    from django.core.exceptions import PermissionDenied

    raise PermissionDenied


def suspicious(request: HttpRequest) -> HttpResponse:
    from django.core.exceptions import SuspiciousOperation

    raise SuspiciousOperation


def outage(request: HttpRequest) -> HttpResponse:
    raise OperationalError from psycopg.OperationalError("connection refused")


def demoted(request: HttpRequest) -> HttpResponse:
    raise InternalError from psycopg.errors.ReadOnlySqlTransaction()


def deadlock(request: HttpRequest) -> HttpResponse:
    raise OperationalError from psycopg.errors.DeadlockDetected()


handler400, handler500 = config.urls.handler400, config.urls.handler500
urlpatterns = [
    *config.urls.urlpatterns,
    path("broken/", broken),
    path("forbidden/", forbidden),
    path("suspicious/", suspicious),
    path("outage/", outage),
    path("demoted/", demoted),
    path("deadlock/", deadlock),
]


def test_the_front_page_is_persian_whatever_the_browser_prefers(client: Client) -> None:
    page = client.get("/", headers={"accept-language": "en-GB,en;q=0.9"})
    assert '<html lang="fa" dir="rtl">' in page.content.decode()
    assert page.headers["Content-Language"] == "fa"


def test_the_front_page_shows_the_base_url_and_a_first_call(client: Client, settings: Any) -> None:
    page = client.get("/").content.decode()
    assert f"curl {settings.BASE_URL}/v1/chat/completions" in page
    assert 'href="/sign-in/"' in page


def test_english_is_one_click_away_and_remembered(client: Client) -> None:
    page = client.get("/sign-in/?next=/keys/").content.decode()
    [form] = re.findall(r'<form method="post" action="/language/">(.*?)</form>', page, re.DOTALL)
    assert 'name="next" value="/sign-in/?next=/keys/"' in form
    assert 'name="language" value="en"' in form
    chosen = client.post("/language/", {"language": "en", "next": "/sign-in/?next=/keys/"})
    assert (chosen.status_code, chosen.headers["Location"]) == (302, "/sign-in/?next=/keys/")
    assert chosen.cookies["hamiran_language"]["max-age"] == 365 * 24 * 3600
    page = client.get("/sign-in/").content.decode()
    assert '<html lang="en" dir="ltr">' in page
    assert 'name="language" value="fa"' in page


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "", None]
)
def test_the_language_switch_leads_nowhere_else(client: Client, elsewhere: str | None) -> None:
    data = {"language": "en"} | ({"next": elsewhere} if elsewhere is not None else {})
    assert client.post("/language/", data).headers["Location"] == "/"


@pytest.mark.parametrize("language", ["de", "", "../../etc", "\x00"])
def test_a_language_that_is_not_offered_changes_nothing(client: Client, language: str) -> None:
    assert "hamiran_language" not in client.post("/language/", {"language": language}).cookies
    client.cookies["hamiran_language"] = language.replace("\x00", "x")
    assert '<html lang="fa"' in client.get("/").content.decode()


def test_the_language_changes_by_post_alone_and_with_a_token(client: Client) -> None:
    assert client.get("/language/").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/language/", {"language": "en"}).status_code == 403


def test_signed_in_pages_carry_navigation_and_sign_out(client: Client) -> None:
    client.force_login(opening.open_account(mobile="+989140000001"))
    client.cookies["hamiran_language"] = "en"
    page = client.get("/nowhere/").content.decode()
    for address in (
        "/overview/",
        "/keys/",
        "/usage/",
        "/wallet/",
        "/models/",
        "/playground/",
        "/docs/",
        "/settings/",
    ):
        assert f'<a class="nav__link" href="{address}"' in page
    assert '<form method="post" action="/sign-out/">' in page
    assert "09140000001" in page


def test_visitors_find_models_docs_and_the_way_in(client: Client) -> None:
    page = client.get("/nowhere/").content.decode()
    navigation = re.findall(r'<a class="nav__link" href="([^"]*)"', page)
    assert navigation == ["/models/", "/docs/"]
    assert 'href="/sign-in/"' in page


def test_the_menu_of_a_phone_opens_and_closes_without_a_script(client: Client) -> None:
    page = client.get("/nowhere/").content.decode()
    assert re.search(r'<nav [^>]*id="menu" popover', page)
    assert page.count('popovertarget="menu"') == 2


@pytest.mark.parametrize(
    ("cookie", "theme", "following"),
    [
        (None, "system", "light"),
        ("light", "light", "dark"),
        ("dark", "dark", "system"),
        ("pink", "system", "light"),
    ],
)
def test_the_server_writes_the_chosen_colours_so_that_nothing_flashes(
    client: Client, cookie: str | None, theme: str, following: str
) -> None:
    if cookie:
        client.cookies["hamiran_theme"] = cookie
    page = client.get("/").content.decode()
    assert re.findall(r'<html[^>]* data-theme="(\w+)"', page) == ([] if theme == "system" else [theme])
    assert f'name="theme" value="{following}"' in page


def test_colours_are_remembered_and_lead_back(client: Client) -> None:
    chosen = client.post("/theme/", {"theme": "dark", "next": "/sign-in/?next=/keys/"})
    assert (chosen.status_code, chosen.headers["Location"]) == (302, "/sign-in/?next=/keys/")
    assert chosen.cookies["hamiran_theme"]["max-age"] == 365 * 24 * 3600
    assert '<meta name="color-scheme" content="dark">' in client.get("/sign-in/").content.decode()
    client.post("/theme/", {"theme": "system"})
    assert '<meta name="color-scheme" content="light dark">' in client.get("/sign-in/").content.decode()


@pytest.mark.parametrize("theme", ["pink", "", None])
def test_colours_that_are_not_offered_change_nothing(client: Client, theme: str | None) -> None:
    answer = client.post("/theme/", {"theme": theme} if theme is not None else {})
    assert answer.status_code == 302
    assert "hamiran_theme" not in answer.cookies


def test_the_colours_change_by_post_alone_and_lead_nowhere_else(client: Client) -> None:
    assert client.get("/theme/").status_code == 405
    assert client.post("/theme/", {"theme": "dark", "next": "//evil.example/"}).headers["Location"] == "/"


def test_htmx_may_neither_evaluate_text_nor_write_styles(client: Client) -> None:
    page = client.get("/").content.decode()
    [config] = re.findall(r"<meta name=\"htmx-config\" content='([^']*)'>", page)
    assert json.loads(config) | {"allowEval": False, "includeIndicatorStyles": False} == json.loads(config)
    assert re.search(r'<script src="/static/django_htmx/htmx-2.min[^"]*" defer>', page)


def test_the_front_page_shows_what_is_on_sale_and_the_tiers(client: Client) -> None:
    offers.add_model(
        model_id="0-front-model",
        upstream_url="http://127.0.0.1:9/v1",
        upstream_key="k",
        price=PriceQuote(300_000, 1_800_000),
    )
    LanguageModel.objects.filter(model_id="0-front-model").update(
        description="Quick", description_fa="مدلی سریع"
    )
    tier = Tier.objects.get(is_default=True)
    page = client.get("/").content.decode()
    assert "0-front-model" in page
    assert "مدلی سریع" in page
    assert "۳۰٬۰۰۰ تومان" in page
    assert tier.name in page
    client.cookies["hamiran_language"] = "en"
    page = client.get("/").content.decode()
    assert "Quick" in page
    assert "180,000 Toman" in page
    assert f"{tier.rpm} requests per minute" in page


def test_the_first_call_of_the_front_page_is_of_a_model_that_chats(client: Client) -> None:
    for model_id, protocol in (("0-embedding", "embeddings"), ("1-chat", "chat")):
        offers.add_model(
            model_id=model_id,
            upstream_url="http://127.0.0.1:9/v1",
            upstream_key="k",
            price=PriceQuote(300_000, 1_800_000),
            protocols=[protocol],
        )
    client.cookies["hamiran_language"] = "en"
    page = html.unescape(client.get("/").content.decode())
    assert '"model": "1-chat"' in page
    assert '"model": "0-embedding"' not in page


def test_the_front_page_stands_without_anything_on_sale(client: Client) -> None:
    LanguageModel.objects.update(is_active=False)
    client.cookies["hamiran_language"] = "en"
    page = client.get("/").content.decode()
    assert "No model is on sale right now." in page
    assert "gemini-3.1-flash-lite-preview" in page  # the example stays whole


@pytest.mark.urls("tests.config.pages.test_pages")
@pytest.mark.parametrize(
    ("address", "status"),
    [("/nowhere/", 404), ("/forbidden/", 403), ("/suspicious/", 400), ("/broken/", 500), ("/nul%00/", 404)],
)
def test_errors_have_pages_in_the_look_of_the_site(address: str, status: int) -> None:
    page = Client(raise_request_exception=False).get(address)
    assert page.status_code == status
    assert '<html lang="fa" dir="rtl">' in page.content.decode()
    assert f">{status}<" in page.content.decode()
    assert "broken on purpose" not in page.content.decode()


@pytest.mark.parametrize(("method", "accept"), [("post", None), ("get", "*/*"), ("post", "application/json")])
def test_a_program_at_a_wrong_address_is_told_the_base_url(method: str, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = getattr(Client(), method)("/nowhere", headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert f"{settings.BASE_URL}/v1" in answer.json()["error"]["message"]
    assert answer["x-request-id"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_person_at_a_wrong_address_gets_a_page(method: str) -> None:
    page = getattr(Client(), method)("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_the_page_of_a_crash_needs_neither_database_nor_context(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        assert "<h1>" in get_template("500.html").render()
        assert "<h1>" in get_template("503.html").render()


@pytest.mark.urls("tests.config.pages.test_pages")
def test_while_the_database_is_away_pages_ask_for_patience() -> None:
    browser = Client(raise_request_exception=False)
    browser.cookies["hamiran_language"], browser.cookies["hamiran_theme"] = "en", "dark"
    page = browser.get("/outage/")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "30")
    assert "We will be back in a moment" in page.content.decode()
    assert 'data-theme="dark"' in page.content.decode()
    assert "connection refused" not in page.content.decode()


@pytest.mark.urls("tests.config.pages.test_pages")
async def test_the_web_process_which_is_asynchronous_tells_an_outage_too() -> None:
    page = await AsyncClient(raise_request_exception=False).get("/outage/")
    assert page.status_code == 503


@pytest.mark.urls("tests.config.pages.test_pages")
def test_a_server_that_gave_its_place_to_another_is_an_outage() -> None:
    assert Client(raise_request_exception=False).get("/demoted/").status_code == 503


@pytest.mark.urls("tests.config.pages.test_pages")
def test_a_failure_of_a_database_that_is_there_is_no_outage() -> None:
    assert Client(raise_request_exception=False).get("/deadlock/").status_code == 500


def test_a_session_that_cannot_be_looked_up_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(store: SessionStore) -> None:
        raise InterfaceError("the connection is closed")

    monkeypatch.setattr(SessionStore, "load", gone)
    browser = Client(raise_request_exception=False, headers={"cookie": f"sessionid={'a' * 32}"})
    assert browser.get("/").status_code == 503


def test_a_form_from_elsewhere_gets_a_page_that_says_what_to_do() -> None:
    page = Client(enforce_csrf_checks=True).post("/sign-out/")
    assert page.status_code == 403
    assert "<h1>" in page.content.decode()


@pytest.mark.parametrize("address", ["/", "/sign-in/", "/nowhere/"])
def test_pages_load_nothing_from_elsewhere_and_hold_no_inline_code(client: Client, address: str) -> None:
    page = client.get(address)
    html = page.content.decode()
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]*)"', html)
    assert loaded
    assert all(source.startswith("/static/") for source in loaded)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.django_db
def test_a_cookie_with_a_nul_byte_is_no_session(client: Client) -> None:
    assert client.get("/", headers={"cookie": 'sessionid="\\000abcdefghij"'}).status_code == 200


def test_the_front_page_shows_a_handful_of_models_however_many_are_on_sale(client: Client) -> None:
    for _ in range(front.MODELS_SHOWN + 3):
        PriceFactory.create(model=RouteFactory.create().model)
    assert len(client.get("/").context["models"]) == front.MODELS_SHOWN
