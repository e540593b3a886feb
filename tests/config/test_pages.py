"""The front page, the language switch and the error pages."""

import re
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.template.loader import get_template
from django.test import Client
from django.urls import path
from pytest_django import DjangoAssertNumQueries

import config.urls
from accounts import opening

pytestmark = pytest.mark.django_db


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken on purpose")


def forbidden(request: HttpRequest) -> HttpResponse:
    from django.core.exceptions import PermissionDenied

    raise PermissionDenied


def suspicious(request: HttpRequest) -> HttpResponse:
    from django.core.exceptions import SuspiciousOperation

    raise SuspiciousOperation


urlpatterns = [
    *config.urls.urlpatterns,
    path("broken/", broken),
    path("forbidden/", forbidden),
    path("suspicious/", suspicious),
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
    for address in ("/overview/", "/keys/", "/usage/", "/wallet/"):
        assert f'<a class="nav__link" href="{address}"' in page
    assert '<form method="post" action="/sign-out/">' in page
    assert "09140000001" in page


@pytest.mark.urls("tests.config.test_pages")
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


def test_the_page_of_a_crash_needs_neither_database_nor_context(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        assert "<h1>" in get_template("500.html").render()


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
