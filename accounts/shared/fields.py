"""Form fields for what people type: with the digits and separators of any keyboard."""

import re
from datetime import date
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.shared import days
from accounts.shared.digits import ascii_digits

# Commas of three scripts, spaces of every kind, and the invisible marks that copying brings along.
IGNORED = re.compile(r"[,٬،_'’\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
DIGITS_MAX = 11  # of Toman: 10^18 micro-Rial, which the database's integers hold
SIGNED = re.compile(r"(?P<sign>[+\-−]?)(?P<digits>\d+)")
UNSIGNED = re.compile(r"(?P<sign>)(?P<digits>\d+)")

LTR = {"autocomplete": "off", "dir": "ltr"}


class TomanField(forms.CharField):
    """A whole number of Toman as an int; with `signed`, one below zero as well."""

    def __init__(self, *, signed: bool = False, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "text" if signed else "numeric", **LTR})
        super().__init__(max_length=40, widget=widget, **kwargs)
        self.signed = signed

    def clean(self, value: Any) -> int | None:
        given = super().clean(value)
        if not given:
            return None  # a field that may be empty
        match = (SIGNED if self.signed else UNSIGNED).fullmatch(IGNORED.sub("", given))
        if match is None:
            raise forms.ValidationError(
                _("Enter the amount as a whole number of Toman, for example 100,000.")
            )
        if len(match["digits"]) > DIGITS_MAX:
            raise forms.ValidationError(_("This amount is too large."))
        amount = int(match["digits"])  # reads the digits of every script
        return -amount if match["sign"] in ("-", "−") else amount


class DigitsField(forms.CharField):
    """A number that names something, in ASCII digits, of one of the given lengths; empty is allowed."""

    def __init__(self, *, lengths: range, wrong: Any, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "numeric", **LTR})
        super().__init__(max_length=40, required=False, widget=widget, **kwargs)
        self.lengths, self.wrong = lengths, wrong

    def clean(self, value: Any) -> str:
        digits = re.sub("[-‐/]", "", IGNORED.sub("", ascii_digits(super().clean(value))))
        if digits and not (digits.isascii() and digits.isdecimal() and len(digits) in self.lengths):
            raise forms.ValidationError(self.wrong)
        return digits


class DayField(forms.CharField):
    """A day such as 1405/09/02 or 2026-11-23, in the digits of any script, as a date; empty is allowed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, required=False, widget=forms.TextInput(attrs=LTR), **kwargs)

    def clean(self, value: Any) -> date | None:
        given = super().clean(value)
        if not given:
            return None
        try:
            return days.read(IGNORED.sub("", given))
        except ValueError:
            raise forms.ValidationError(_("Enter a day such as 1405/09/02 or 2026-11-23.")) from None
