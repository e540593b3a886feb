"""How a top-up and the particulars of an invoice are typed."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import DigitsField, TomanField
from wallet.payments.invoice_models import BuyerDetails

PARTICULARS = ("name", "economic_code", "national_id", "address", "postal_code")


class TopUpForm(forms.Form):
    """`cleaned_data["amount"]` is a whole number of Toman; whether it is allowed is for `topups` to say."""

    amount = TomanField(label=_("Amount in Toman"))


class ParticularsForm(forms.ModelForm):  # type: ignore[type-arg]
    """How a buyer is named on an invoice."""

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
