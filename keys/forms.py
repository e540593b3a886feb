"""What a person fills in to get a key."""

import uuid

from django import forms
from django.utils.translation import gettext_lazy as _

NAME_MAX_LENGTH = 80


class CreateKeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=NAME_MAX_LENGTH,
        help_text=_("For your own eyes: what the key is used for."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}),
    )
    # Differs each time the form is shown, so that the same form sent twice is recognised.
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
