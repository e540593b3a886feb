"""The page of models and prices, which needs no account."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from proxy.catalogue import served as catalogue
from proxy.catalogue.price_list import price_list
from proxy.dashboard.cost_form import CostForm


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
