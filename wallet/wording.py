"""How amounts of money are written for people: in Toman, in the language of the page."""

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared.formats import figure_text
from wallet.money import toman_text


def toman(micro: int) -> str:
    """With the unit: `1,234.5 Toman`."""
    return _with_unit(toman_text(micro))


def toman_without_unit(micro: int) -> str:
    """Whole Toman, where what stands around it names the unit: `1,234`. Less than one keeps its first digits."""
    return figure_text(toman_text(micro, digits=0), language=get_language())


def toman_change(micro: int) -> str:
    """What came or went, with its sign and the unit: `+1,234.5 Toman`."""
    return _with_unit(("+" if micro > 0 else "") + toman_text(micro))


def toman_in_sms(micro: int) -> str:
    """Whole Toman, without the unit, in the language that SMS are written in."""
    return figure_text(toman_text(micro, digits=0), language=settings.LANGUAGE_CODE)


def _with_unit(figure: str) -> str:
    return _("%(amount)s Toman") % {"amount": figure_text(figure, language=get_language())}
