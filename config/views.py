"""Pages of the site itself."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.redirects import local_path
from proxy.models import LanguageModel

STARTER_MODEL = "gemini-3.1-flash-lite-preview"


@require_safe
def front(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("proxy:overview")
    on_sale = LanguageModel.objects.filter(is_active=True).values_list("model_id", flat=True).first()
    return render(request, "front.html", {"model_id": on_sale or STARTER_MODEL})


@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    response = redirect(local_path(request.POST.get("next"), default="/"))
    language = request.POST.get("language")
    if language in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            samesite="Lax",
            httponly=True,
        )
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)
