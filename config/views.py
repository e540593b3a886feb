"""Pages of the site itself."""

import sys

import uuid_utils.compat as uuid
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import get_template
from django.views.decorators.http import require_POST
from django.views.defaults import page_not_found

from accounts.shared.redirects import local_path
from config.pages import context, theme
from config.pages.outage import is_outage
from proxy import advice
from proxy.errors import no_such_endpoint
from proxy.http.responses import error_response, id_headers

RETRY_AFTER_SECONDS = 30


@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    language = request.POST.get("language")
    return _remember(
        request, settings.LANGUAGE_COOKIE_NAME, language if language in dict(settings.LANGUAGES) else None
    )


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    chosen = request.POST.get("theme")
    return _remember(request, theme.COOKIE_NAME, chosen if chosen in theme.THEMES else None)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _bare(request, "400.html", status=400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for people; for a program that looks for the API here, the API's own 404, with its base URL."""
    accepted = request.headers.get("Accept")
    if "text/html" in (accepted or "") or (accepted is None and request.method in {"GET", "HEAD"}):
        return page_not_found(request, exception)
    advice.hear(request.headers.get("Accept-Language", ""), request.META["QUERY_STRING"].encode())
    reply = error_response(no_such_endpoint(request.path, base_url=settings.BASE_URL))
    headers = reply.headers | id_headers(uuid.uuid7().hex)
    return HttpResponse(reply.content, status=reply.status_code, headers=headers)


def server_error(request: HttpRequest) -> HttpResponse:
    if is_outage(sys.exc_info()[1]):
        return _bare(request, "503.html", status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    return _bare(request, "500.html", status=500)


def _bare(
    request: HttpRequest, template: str, *, status: int, headers: dict[str, str] | None = None
) -> HttpResponse:
    """A page without session, user and database: each of them may be what failed."""
    page = get_template(template).render(
        {"theme": theme.chosen(request), "payment_sandbox": context.payment_sandbox()}
    )
    return HttpResponse(page, status=status, headers=headers)


def _remember(request: HttpRequest, cookie: str, choice: str | None) -> HttpResponse:
    """Back to where the visitor came from, with a choice of theirs (if it is one) in a cookie."""
    response = redirect(local_path(request.POST.get("next"), default="/"))
    if choice is not None:
        response.set_cookie(
            cookie,
            choice,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            samesite="Lax",
            httponly=True,
        )
    return response
