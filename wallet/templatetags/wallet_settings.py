"""The wallet's part of the settings page, which `accounts` could not ask for: imports point down only."""

from typing import Any

from django import template
from django.utils.translation import get_language

from accounts.shared.formats import number_text
from wallet import alerts
from wallet.forms import AlertForm
from wallet.money import toman_from_micro
from wallet.payments import invoices

register = template.Library()


@register.inclusion_tag("wallet/settings.html", takes_context=True)
def wallet_settings(context: dict[str, Any]) -> dict[str, Any]:
    request = context["request"]
    threshold_micro = alerts.threshold_micro(request.user.pk)
    threshold = ""
    if threshold_micro is not None:
        threshold = number_text(toman_from_micro(threshold_micro), language=get_language())
    return {
        "request": request,
        "csrf_token": context["csrf_token"],
        "alert_form": AlertForm(initial={"threshold": threshold}),
        "buyer": invoices.buyer_details(request.user.pk),
    }
