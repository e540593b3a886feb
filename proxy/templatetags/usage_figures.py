"""What only the usage pages write."""

from django import template

from proxy.usage import wording as usage_wording

register = template.Library()
NOTHING = "—"


@register.filter
def duration(milliseconds: int | None) -> str:
    return NOTHING if milliseconds is None else usage_wording.duration(milliseconds)
