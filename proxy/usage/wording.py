"""How the usage pages write numbers, durations and times, in the language of the page."""

from datetime import datetime

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared import formats


def number(value: int) -> str:
    return formats.number_text(value, language=get_language())


def duration(milliseconds: int) -> str:
    """`850 ms`, `1.25 s`, `12.3 s`."""
    if milliseconds < 1_000:
        return _("%(number)s ms") % {"number": number(milliseconds)}
    digits = 2 if milliseconds < 10_000 else 1
    whole, rest = divmod(milliseconds // 10 ** (3 - digits), 10**digits)
    figure = formats.figure_text(f"{whole:,}.{rest:0{digits}d}", language=get_language())
    return _("%(number)s s") % {"number": figure}


def start(moment: datetime, *, by: str) -> str:
    """The name of an hour or a day by its beginning."""
    write = formats.datetime_text if by == "hour" else formats.date_text
    return write(moment, language=get_language())
