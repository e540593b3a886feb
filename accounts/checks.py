"""What `manage.py check --deploy` says about SMS."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register(deploy=True)
def plain_texts_have_a_line(**kwargs: Any) -> list[CheckMessage]:
    if settings.SMS_PROVIDER == "smsir" and not settings.SMSIR_LINE_NUMBER:
        said = "SMSIR_LINE_NUMBER is not set: people can sign in, but get no warning of a low balance."
        return [Warning(said, id="accounts.W001")]
    return []
