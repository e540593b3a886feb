"""The playground: pages that call the API from the browser, with a short-lived key. What is said stays there."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from keys import lifecycle
from proxy.catalogue import served as catalogue
from proxy.catalogue.endpoints import CHAT
from proxy.catalogue.price_list import price_list
from proxy.catalogue.served import ServedModel
from proxy.dashboard.docs import examples
from proxy.dashboard.keys.wording import no_new_keys_text

# What can be tried beside chat, by endpoint: its name, and what the button says.
TRIALS = {
    "images": (_("Images"), _("Draw")),
    "speech": (_("Speech"), _("Speak")),
    "transcriptions": (_("Transcription"), _("Transcribe")),
    "embeddings": (_("Embeddings"), _("Embed")),
}


@dataclass(frozen=True, slots=True)
class Tab:
    endpoint: str
    label: str
    url: str


@require_safe
@login_required
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    served = catalogue.load(timezone.now()).values()
    models = price_list(catalogue.at(served, CHAT), language=get_language())
    # playground_code.js writes the bodies.
    shown = [each.written(base_url=settings.BASE_URL) for each in examples.EXAMPLES if each.body]
    tabs = {"tabs": _tabs(served), "endpoint": CHAT}
    return render(request, "proxy/playground.html", {"models": models, "examples": shown, **tabs})


@require_safe
@login_required
@never_cache
def trial(request: HttpRequest, endpoint: str) -> HttpResponse:
    if endpoint not in TRIALS:
        raise Http404
    served = catalogue.load(timezone.now()).values()
    models = price_list(catalogue.at(served, endpoint), language=get_language())
    label, action = TRIALS[endpoint]
    shown = {"models": models, "label": label, "action": action, "tabs": _tabs(served), "endpoint": endpoint}
    return render(request, "proxy/playground_trial.html", shown)


def _tabs(served: Iterable[ServedModel]) -> list[Tab]:
    """Chat, and what some model is served at."""
    tabs = [Tab(CHAT, str(_("Chat")), reverse("proxy:playground"))]
    for endpoint, (label, _action) in TRIALS.items():
        if catalogue.at(served, endpoint):
            tabs.append(Tab(endpoint, str(label), reverse("proxy:playground_trial", args=[endpoint])))
    return tabs


@require_POST
@cache_control(no_store=True)
@sensitive_variables("created")
def session(request: HttpRequest) -> HttpResponse:
    """`{"key", "expires_at"}` for a signed-in user, in place of the key before; 401 for anybody else, 409 with words
    for a user who gets no new keys now.

    A script asks for it: it could make nothing of a redirect to the sign-in page.
    """
    if request.user.pk is None:
        return JsonResponse({"error": "signed_out"}, status=401)
    expires_at = timezone.now() + lifecycle.SESSION_LIFE
    try:
        created = lifecycle.session_key(user_id=request.user.pk)
    except lifecycle.NoNewKeys as refused:
        said = {"error": "no_new_keys", "message": no_new_keys_text(refused.until)}
        return JsonResponse(said, status=409)
    return JsonResponse({"key": created.secret, "expires_at": expires_at})
