"""What a person fills in about an admin key."""

import uuid
from datetime import datetime, timedelta

from django import forms
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from keys import rules
from keys.models import AdminKey
from keys.rules import NAME_MAX_LENGTH
from proxy.dashboard.keys.forms import LIVES, NEVER, ON_DAY, NetworksField

SCOPES = [(each.value, format_lazy("{} ({})", each.label, each.value)) for each in AdminKey.Scope]


class AdminKeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=NAME_MAX_LENGTH,
        help_text=_("For you alone, to remember what the key is for."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=SCOPES,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Tick only what the program needs."),
    )
    life = forms.ChoiceField(
        label=_("Expires"), choices=[life for life in LIVES if life[0] != ON_DAY], initial="365"
    )
    allowed_networks = NetworksField(
        label=_("Networks"),
        help_text=_(
            "Addresses or networks the key may be used from, one per line. Leave empty to allow any."
        ),
    )
    # Differs each time the form is shown, so that the same form sent twice is recognised.
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean_name(self) -> str:
        try:
            return rules.clean_name(self.cleaned_data["name"])
        except ValueError:
            raise forms.ValidationError(_("A name is one line of text.")) from None

    def expires_at(self) -> datetime | None:
        """Of a valid form."""
        life = self.cleaned_data["life"]
        return None if life == NEVER else timezone.now() + timedelta(days=int(life))
