"""How an amount is typed: in Toman, with the digits and separators of any keyboard."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

# Commas of three scripts, spaces of every kind, and the invisible marks that copying brings along.
IGNORED = re.compile(r"[,٬،_'’\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
DIGITS_MAX = 12


class TopUpForm(forms.Form):
    """`cleaned_data["amount"]` is a whole number of Toman; whether it is allowed is for `topups` to say."""

    amount = forms.CharField(
        label=_("Amount in Toman"),
        max_length=40,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "dir": "ltr"}),
    )

    def clean_amount(self) -> int:
        typed: Any = IGNORED.sub("", self.cleaned_data["amount"])
        if not typed.isdecimal():
            raise forms.ValidationError(
                _("Write the amount as a whole number of Toman, for example 100,000.")
            )
        if len(typed) > DIGITS_MAX:
            raise forms.ValidationError(_("This amount is too large."))
        return int(typed)  # reads the digits of every script
