"""Pages about the API that need no account: models and prices, and the reference."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from proxy import catalogue
from proxy import reference as references
from proxy.cost_form import CostForm
from proxy.price_list import price_list

EXAMPLE_COOKIE = "hamiran_example"  # docs.js writes it


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    served = list(catalogue.load(timezone.now()).values())
    form = CostForm(request.GET.dict(), models=served) if served else None
    context = {
        "models": price_list(served, language=get_language()),
        "form": form,
        "cost": form.cost() if form else None,
    }
    return render(request, "proxy/models.html", context)


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    shown = references.of(
        user_id=request.user.pk,
        example=request.COOKIES.get(EXAMPLE_COOKIE),
        now=timezone.now(),
        language=get_language(),
    )
    response = render(request, "proxy/reference.html", {"reference": shown})
    if request.user.is_authenticated:  # it names a key and a tier
        patch_cache_control(response, private=True, no_cache=True)
    return response
