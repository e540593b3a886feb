"""The pages of the API reference, and of the rules for every ending."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from proxy.dashboard.docs import endings
from proxy.dashboard.docs import reference as references

EXAMPLE_COOKIE = "hamiran_example"  # docs.js writes it


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    shown = references.build(
        user_id=request.user.pk,
        example=request.COOKIES.get(EXAMPLE_COOKIE),
        now=timezone.now(),
        language=get_language(),
    )
    response = render(request, "proxy/reference.html", {"reference": shown})
    if request.user.is_authenticated:  # it names a key and a tier
        patch_cache_control(response, private=True, no_cache=True)
    return response


@require_safe
def billing(request: HttpRequest) -> HttpResponse:
    return render(request, "proxy/billing.html", endings.context())
