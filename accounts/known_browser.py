"""A cookie that recognises a browser in which a number has signed in: for a year, without the number in clear."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

COOKIE_NAME = "hamiran_known"
SALT = "accounts.known_browser"
LIFETIME = timedelta(days=365)


def remember(response: HttpResponse, *, mobile: str) -> None:
    response.set_signed_cookie(
        COOKIE_NAME,
        _digest(mobile),
        salt=SALT,
        max_age=int(LIFETIME.total_seconds()),
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
        path="/sign-in/",
    )


def is_known(request: HttpRequest, *, mobile: str) -> bool:
    kept = request.get_signed_cookie(COOKIE_NAME, default="", salt=SALT, max_age=LIFETIME)
    return constant_time_compare(kept or "", _digest(mobile))


def _digest(mobile: str) -> str:
    return salted_hmac(SALT, mobile, algorithm="sha256").hexdigest()
