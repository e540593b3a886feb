"""Digits of every script. Pure: no Django."""

import unicodedata


def ascii_digits(text: str) -> str:
    """`text` with the decimal digits of every script (`۱۲۳`, `١٢٣`) as ASCII."""
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
