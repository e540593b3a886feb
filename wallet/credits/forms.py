"""How a promo code is typed."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import LTR


class PromoForm(forms.Form):
    code = forms.CharField(
        label=_("Promo code"),
        max_length=60,
        widget=forms.TextInput(attrs={"autocapitalize": "characters", **LTR}),
    )
