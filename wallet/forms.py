"""How amounts and the particulars of an invoice are typed: with the digits and separators of any keyboard."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.phone import ascii_digits
from wallet.invoice_models import BuyerDetails

# Commas of three scripts, spaces of every kind, and the invisible marks that copying brings along.
IGNORED = re.compile(r"[,٬،_'’\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
DIGITS_MAX = 11  # of Toman: 10^18 micro-Rial, which the database's integers hold
SIGNED = re.compile(r"(?P<sign>[+\-−]?)(?P<digits>\d+)")
UNSIGNED = re.compile(r"(?P<sign>)(?P<digits>\d+)")
PARTICULARS = ("name", "economic_code", "national_id", "address", "postal_code")
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
                _("Write the amount as a whole number of Toman, for example 100,000.")
            )
        if len(match["digits"]) > DIGITS_MAX:
            raise forms.ValidationError(_("This amount is too large."))
        amount = int(match["digits"])  # reads the digits of every script
        return -amount if match["sign"] in ("-", "−") else amount


class TopUpForm(forms.Form):
    """`cleaned_data["amount"]` is a whole number of Toman; whether it is allowed is for `topups` to say."""

    amount = TomanField(label=_("Amount in Toman"))


class PromoForm(forms.Form):
    code = forms.CharField(
        label=_("Promo code"),
        max_length=60,
        widget=forms.TextInput(attrs={"autocapitalize": "characters", **LTR}),
    )


class AlertForm(forms.Form):
    """`threshold` is a whole number of Toman; None or 0: no alert."""

    threshold = TomanField(
        label=_("Send me an SMS when less than this many Toman is available"),
        required=False,
        help_text=_("Empty: no SMS."),
    )


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


class ParticularsForm(forms.ModelForm):  # type: ignore[type-arg]
    """Who somebody is on an invoice."""

    economic_code = DigitsField(
        label=_("Economic code"),
        lengths=range(11, 17),
        wrong=_("An economic code has 11 to 16 digits."),
    )
    national_id = DigitsField(
        label=_("National ID"),
        lengths=range(10, 12),
        wrong=_("A person's national ID has 10 digits, a company's 11."),
    )
    postal_code = DigitsField(
        label=_("Postal code"), lengths=range(10, 11), wrong=_("A postal code has 10 digits.")
    )


class BuyerForm(ParticularsForm):
    class Meta:
        model = BuyerDetails
        fields = PARTICULARS
