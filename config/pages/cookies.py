"""Cookies that no browser of ours has set: a NUL in one is not PostgreSQL's to refuse, with a 500."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class CookieMiddleware:
    """Drops cookies whose value contains a NUL byte, before anything looks a session up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        for name in [name for name, value in request.COOKIES.items() if "\0" in value]:
            del request.COOKIES[name]
        return self._get_response(request)
