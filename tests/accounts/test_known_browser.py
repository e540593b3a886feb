from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils import timezone

from accounts import challenges, known_browser
from accounts.models import Challenge
from tests.accounts.people import new_mobile


def browser_that_signed_in_with(mobile: str) -> HttpRequest:
    response = HttpResponse()
    known_browser.remember(response, mobile=mobile)
    request = HttpRequest()
    request.COOKIES = {name: morsel.value for name, morsel in response.cookies.items()}
    return request


def test_a_browser_is_known_for_its_number_alone_and_names_nobody() -> None:
    mobile = new_mobile()
    request = browser_that_signed_in_with(mobile)
    assert known_browser.is_known(request, mobile=mobile)
    assert not known_browser.is_known(request, mobile=new_mobile())
    assert mobile[3:] not in str(request.COOKIES)


@pytest.mark.parametrize("forged", ["", "x", "a:b:c", "\x00", "é" * 100])
def test_a_cookie_that_we_did_not_write_proves_nothing(forged: str) -> None:
    request = HttpRequest()
    request.COOKIES = {known_browser.COOKIE_NAME: forged}
    assert not known_browser.is_known(request, mobile=new_mobile())


@pytest.mark.django_db
def test_whoever_has_signed_in_before_is_let_in_when_strangers_have_used_their_part(settings: Any) -> None:
    settings.CODES_PER_HOUR = 10
    browser, mobile = Client(), new_mobile()
    browser.post("/sign-in/", {"mobile": mobile})
    code = browser.cookies["sandbox_code"].value
    assert browser.post("/sign-in/code/", {"code": code}).status_code == 302
    assert browser.cookies[known_browser.COOKIE_NAME]["httponly"]
    browser.post("/sign-out/")
    while Challenge.objects.count() < 7:
        challenges.issue(mobile=new_mobile(), address="192.0.2.1", now=timezone.now() - timedelta(seconds=30))
    assert Client().post("/sign-in/", {"mobile": new_mobile()}).status_code == 429
    # Known for its number alone.
    assert browser.post("/sign-in/", {"mobile": new_mobile()}).status_code == 429
    assert browser.post("/sign-in/", {"mobile": mobile}).status_code == 302
