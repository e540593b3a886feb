"""What `manage.py check --deploy` says about payments."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

ZIBAL_SANDBOX_MERCHANT = "zibal"


@register(deploy=True)
def nobody_pays_with_play_money(**kwargs: Any) -> list[CheckMessage]:
    """A provider's sandbox credits wallets that nobody paid for: right for a trial, wrong for customers."""
    play = []
    if settings.ZARINPAL_SANDBOX:
        play.append("ZARINPAL_SANDBOX is on")
    if settings.ZIBAL_MERCHANT == ZIBAL_SANDBOX_MERCHANT:
        play.append("ZIBAL_MERCHANT is that of its sandbox")
    return [Warning(f"{what}: top-ups cost nobody money.", id="wallet.W001") for what in play]
