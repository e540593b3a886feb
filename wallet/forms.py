"""How the threshold of an alert is typed."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import TomanField


class AlertForm(forms.Form):
    """`threshold` is a whole number of Toman; None or 0: no alert."""

    threshold = TomanField(
        label=_("Tell me when less than this is available, in Toman"),
        required=False,
        help_text=_("Empty: no message."),
    )
