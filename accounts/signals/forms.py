"""What a person fills in about a webhook."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import LTR
from accounts.shared.outbound import UnsafeURL
from accounts.signals import endpoints
from accounts.signals.events import Event
from accounts.signals.models import ADDRESS_MAX_LENGTH


class EventChoices(forms.CheckboxSelectMultiple):
    """With the name that programs see beside what it means."""

    option_template_name = "accounts/webhooks/event_option.html"


class EndpointForm(forms.Form):
    """Valid once the resolver has been asked, so it is checked outside transactions."""

    address = forms.CharField(
        label=_("Address"),
        max_length=ADDRESS_MAX_LENGTH,
        help_text=_("Where we send a POST for each event. It begins with https://."),
        error_messages={"required": _("Enter the address of your receiver.")},
        widget=forms.TextInput(
            attrs={"type": "url", "inputmode": "url", "placeholder": "https://example.com/hamiran", **LTR}
        ),
    )
    events = forms.MultipleChoiceField(
        label=_("Events"),
        choices=Event.choices,
        error_messages={"required": _("Choose at least one event.")},
        widget=EventChoices,
    )

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"]
        try:
            return endpoints.checked_address(address)
        except UnsafeURL as error:
            raise forms.ValidationError(str(error)) from None

    @property
    def wanted(self) -> dict[str, Any]:
        return {"address": self.cleaned_data["address"], "events": self.cleaned_data["events"]}
