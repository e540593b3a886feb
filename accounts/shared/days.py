"""Days as people and programs write them, by either calendar. Pure: no Django."""

import re
from datetime import date

import jdatetime

from accounts.shared.digits import ascii_digits

DAY = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})")
JALALI_YEARS = range(1300, 1600)
GREGORIAN_YEARS = range(1900, 2200)


def read(text: str) -> date:
    """A day such as 1405/09/02 or 2026-11-23, in the digits of any script.

    >>> read("1405-09-09"), read("2026-11-30"), read("۱۴۰۵/۹/۹")
    (datetime.date(2026, 11, 30), datetime.date(2026, 11, 30), datetime.date(2026, 11, 30))

    Raises ValueError, also for the 31st of a shorter month.
    """
    found = DAY.fullmatch(ascii_digits(text))
    if found is None:
        raise ValueError(text)
    year, month, day = (int(part) for part in found.groups())
    if year in GREGORIAN_YEARS:
        return date(year, month, day)
    if year in JALALI_YEARS:
        gregorian: date = jdatetime.date(year, month, day).togregorian()
        return gregorian
    raise ValueError(text)
