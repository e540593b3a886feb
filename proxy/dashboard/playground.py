"""The playground: a page that calls the API from the browser, with a short-lived key. The conversation stays there."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from keys import lifecycle
from proxy.catalogue import served as catalogue
from proxy.catalogue.endpoints import CHAT
from proxy.catalogue.price_list import price_list
from proxy.dashboard.docs import examples
from proxy.dashboard.keys.wording import no_new_keys_text


@require_safe
@login_required
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    chats = catalogue.at(catalogue.load(timezone.now()).values(), CHAT)
    models = price_list(chats, language=get_language())
    # playground_code.js writes the bodies.
    shown = [each.written(base_url=settings.BASE_URL) for each in examples.EXAMPLES if each.body]
    return render(request, "proxy/playground.html", {"models": models, "examples": shown})


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
