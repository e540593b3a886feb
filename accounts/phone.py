"""Iranian mobile numbers: what people type becomes E.164, and back. Pure: no Django.

The rules are those of Google's libphonenumber, which knows the prefixes in use.
"""

import re

import phonenumbers

from accounts.shared.digits import ascii_digits

IRAN = 98
MAX_TYPED_LENGTH = 40
# Marks that keyboards and copied text leave between digits; libphonenumber stumbles over the first two.
INVISIBLE = dict.fromkeys(
    map(ord, "\u200c\u200d\u200b\u200e\u200f\u061c\u2066\u2067\u2068\u2069\u202a\u202b\u202c\ufeff")
)
SEPARATORS = dict.fromkeys(map(ord, " -()./"))


class InvalidMobile(ValueError):
    """The text is not an Iranian mobile number."""


def normalise(text: str) -> str:
    """The number in E.164, `+989121234567`, from any usual way to write it. Raises InvalidMobile."""
    plain = ascii_digits(text.translate(INVISIBLE)).strip()
    # Letters would be read as extensions or as a telephone's keypad.
    if len(plain) > MAX_TYPED_LENGTH or any(char.isalpha() for char in plain):
        raise InvalidMobile
    try:
        number = phonenumbers.parse(plain, "IR")
    except phonenumbers.NumberParseException:
        raise InvalidMobile from None
    if (
        number.country_code != IRAN
        or number.extension
        or phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.MOBILE
    ):
        raise InvalidMobile
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def part(text: str) -> str:
    """The digits of a number or of a part of one, however it is typed, as they stand in E.164; empty: it is neither.

    >>> part("۰۹۱۲ ۱۲۳"), part("0098912"), part("45-67"), part("shop")
    ('912123', '98912', '4567', '')

    A leading zero goes where it is that of a whole number's beginning.
    """
    plain = ascii_digits(text.translate(INVISIBLE).translate(SEPARATORS)).removeprefix("+")
    if len(plain) > MAX_TYPED_LENGTH or not plain.isdecimal():
        return ""
    return re.sub("^(?:00(?=98)|0(?=9))", "", plain)


def local(mobile: str) -> str:
    """An E.164 number of Iran the way people there write it: `09121234567`."""
    return "0" + mobile.removeprefix(f"+{IRAN}")


def masked(mobile: str) -> str:
    """Likewise with its middle hidden, for logs: `0912***4567`."""
    written = local(mobile)
    return f"{written[:4]}***{written[-4:]}"
