"""The front page. A web process keeps it for some seconds in each look, since any client can request it in a loop."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from accounts.models import Tier
from config.pages import theme
from proxy.catalogue import served as catalogue
from proxy.catalogue import starter
from proxy.catalogue.endpoints import CHAT
from proxy.dashboard.docs.examples import CURL, NODE, PYTHON

EXAMPLES = (PYTHON, NODE, CURL)
KEPT_SECONDS = 5.0
MODELS_SHOWN = 8  # the page of models has them all
# Stands in the kept page where each visitor's own token belongs.
TOKEN = "csrf-token-of-this-visitor"  # noqa: S105


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    # Without these cookies nobody is signed in, and there is no message to show: the page is the same for all.
    if {settings.SESSION_COOKIE_NAME, "messages"} & request.COOKIES.keys() or request.META.get(
        "QUERY_STRING"
    ):
        if request.user.is_authenticated:
            return redirect("proxy:overview")
        written = _written(request)
    else:
        written = _kept(request)
    response = HttpResponse(written.replace(TOKEN, get_token(request)))
    response.headers["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ["Cookie"])
    return response


def _kept(request: HttpRequest) -> str:
    """From the web process' memory (config.asgi); anywhere else it is rendered anew."""
    pages: dict[Any, tuple[float, str]] = getattr(request, "scope", {}).get("hamiran.front_pages", {})
    look = get_language(), theme.chosen(request)
    until, written = pages.get(look, (0.0, ""))
    if until <= time.monotonic():
        written = _written(request)
        pages[look] = time.monotonic() + KEPT_SECONDS, written
    return written


def _written(request: HttpRequest) -> str:
    models = list(catalogue.load(timezone.now()).values())
    chats = catalogue.at(models, CHAT)
    model_id = chats[0].model_id if chats else starter.MODEL_ID
    context = {
        "examples": [each.written(base_url=settings.BASE_URL, model_id=model_id) for each in EXAMPLES],
        "models": models[:MODELS_SHOWN],
        "tiers": Tier.objects.all(),
        "csrf_token": TOKEN,
    }
    return render_to_string("front.html", context, request)
