"""How amounts are written outside pages."""

from django.conf import settings

from accounts.shared.formats import figure_text
from wallet.money import toman_text


def toman_in_sms(micro: int) -> str:
    """Whole Toman, without the unit, in the language that SMS are written in."""
    return figure_text(toman_text(micro, digits=0), language=settings.LANGUAGE_CODE)
