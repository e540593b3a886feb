"""The part of the settings page about kept answers, which `accounts` could not ask for: imports point down only."""

from typing import Any

from django import template

from proxy.dashboard.kept_answers import KeepingForm
from proxy.idempotency import keeping

register = template.Library()
HOURS_AT_FIRST = 1


@register.inclusion_tag("proxy/kept_answers.html", takes_context=True)
def answer_settings(context: dict[str, Any]) -> dict[str, Any]:
    chosen = keeping.of(user_id=context["request"].user.pk)
    return {
        "csrf_token": context["csrf_token"],
        "keeping": chosen,
        "keeping_form": KeepingForm(initial={"hours": chosen.hours or HOURS_AT_FIRST}),
    }
