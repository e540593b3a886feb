"""How figures, dates and phone numbers are written for people, in Persian and in English. Pure: no Django.

`language` is a language code; every code that does not begin with `fa` is written as English.
"""

import re
from datetime import date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

import jdatetime

TEHRAN = ZoneInfo("Asia/Tehran")
PERSIAN = str.maketrans("0123456789,.", "۰۱۲۳۴۵۶۷۸۹٬٫")
PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
# Named here and not left to strftime, which follows the machine's locale.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LTR_ISOLATE, POP_ISOLATE = "\u2066", "\u2069"
WITHOUT_ISOLATES = str.maketrans("", "", LTR_ISOLATE + POP_ISOLATE)
MOBILE = re.compile(r"\+[0-9]{8,}")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")


def is_persian(language: str | None) -> bool:
    return (language or "").startswith("fa")


def digits_text(text: str, *, language: str | None) -> str:
    """`text` with its digits in the language's script and nothing else touched: codes, phone numbers, times."""
    return text.translate(PERSIAN_DIGITS) if is_persian(language) else text


def figure_text(text: str, *, language: str | None) -> str:
    """A figure such as `-1,234.5` with the language's digits and separators, its sign kept on its left side."""
    if not is_persian(language):
        return text
    written = text.translate(PERSIAN)
    # In a right-to-left line a leading sign would jump to the other side of the number.
    return f"{LTR_ISOLATE}{written}{POP_ISOLATE}" if written.startswith(("-", "+")) else written


def ltr_text(text: str, *, language: str | None) -> str:
    """What is read from left to right, such as `2001:db8::1`; of a Persian text, the mobile numbers in it.

    In a right-to-left line its ends would change places.
    """
    if not is_persian(language) or LTR_ISOLATE in text or not re.search(r"\w", text):
        return text
    if RIGHT_TO_LEFT.search(text):
        return MOBILE.sub(rf"{LTR_ISOLATE}\g<0>{POP_ISOLATE}", text)
    return f"{LTR_ISOLATE}{text}{POP_ISOLATE}"


def number_text(number: int, *, language: str | None) -> str:
    """`1,234` or `۱٬۲۳۴`."""
    return figure_text(f"{number:,}", language=language)


def percent_figure(basis_points: int) -> str:
    """Hundredths of a percent as `9.5` or `-0.5`."""
    whole, rest = divmod(abs(basis_points), 100)
    return ("-" if basis_points < 0 else "") + f"{whole}.{rest:02d}".rstrip("0").rstrip(".")


def percent_text(basis_points: int, *, language: str | None) -> str:
    """`9.5%` or `۹٫۵٪`."""
    sign = "٪" if is_persian(language) else "%"
    return figure_text(percent_figure(basis_points), language=language) + sign


def date_text(moment: datetime, *, language: str | None) -> str:
    """The day in Tehran of an aware time: `23 Nov 2026`, or `۲ آذر ۱۴۰۵` by the Jalali calendar."""
    local = moment.astimezone(TEHRAN)
    if is_persian(language):
        day = jdatetime.date.fromgregorian(date=local.date())
        return digits_text(
            f"{day.day} {jdatetime.date.j_months_fa[day.month - 1]} {day.year}", language=language
        )
    return f"{local.day} {MONTHS[local.month - 1]} {local.year}"


def day_text(day: date, *, language: str | None) -> str:
    """Likewise of a day."""
    return date_text(datetime.combine(day, time(12), tzinfo=TEHRAN), language=language)


def month_start(day: date, *, language: str | None) -> date:
    """The first day of the month that `day` lies in, by the calendar of the language."""
    if not is_persian(language):
        return day.replace(day=1)
    first: date = jdatetime.date.fromgregorian(date=day).replace(day=1).togregorian()
    return first


def jalali_text(moment: datetime) -> str:
    """The day in Tehran for programs: `1405/09/02`."""
    return jalali_day_text(moment.astimezone(TEHRAN).date())


@lru_cache(maxsize=1_000)
def jalali_day_text(day: date) -> str:
    """Likewise of a day."""
    jalali = jdatetime.date.fromgregorian(date=day)
    return f"{jalali.year}/{jalali.month:02d}/{jalali.day:02d}"


def datetime_text(moment: datetime, *, language: str | None) -> str:
    """Likewise with the time of day: `23 Nov 2026, 14:05`, or `۲ آذر ۱۴۰۵، ۱۴:۰۵`."""
    comma = "،" if is_persian(language) else ","
    time = digits_text(f"{moment.astimezone(TEHRAN):%H:%M}", language=language)
    return f"{date_text(moment, language=language)}{comma} {time}"
