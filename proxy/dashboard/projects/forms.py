"""What a person fills in about a project and its people."""

import uuid
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts import phone
from accounts.shared.fields import TomanField
from keys import rules
from keys.projects.projects import Role
from proxy.dashboard.keys.forms import PERIODS, figure
from proxy.own_projects import OwnProject
from wallet.ledger.periods import Period
from wallet.money import micro_from_toman, toman_from_micro

ROLES = [
    (Role.MEMBER.value, _("Member: creates keys and manages their own")),
    (Role.VIEWER.value, _("Viewer: sees keys and usage")),
]


class NewProjectForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=rules.NAME_MAX_LENGTH,
        help_text=_("Everybody in the project sees it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    # Differs each time the form is shown, so that the same form sent twice is recognised.
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean_name(self) -> str:
        try:
            return rules.clean_name(self.cleaned_data["name"])
        except ValueError:
            raise forms.ValidationError(_("Enter a name in one line.")) from None


class ProjectForm(NewProjectForm):
    """A project's name and cap, as they are now."""

    cap = TomanField(
        label=_("Spending cap in Toman"),
        required=False,
        help_text=_("The most that all keys of the project together may spend. Leave empty for no cap."),
    )
    cap_period = forms.ChoiceField(
        label=_("The cap is"),
        choices=PERIODS,
        help_text=_(
            "Days, weeks (from Saturday) and Jalali months begin at midnight in Tehran. With another choice, "
            "the cap is counted anew from that moment."
        ),
    )
    field_order = ("name", "cap", "cap_period", "token")

    def __init__(self, data: Any = None, *, own: OwnProject) -> None:
        cap = own.cap
        initial = {
            "name": own.project.name,
            "cap": figure(None if cap is None else toman_from_micro(cap.limit_micro)),
            "cap_period": (Period.FOREVER if cap is None else cap.period).value,
        }
        super().__init__(data, initial=initial)

    def clean_cap(self) -> int | None:
        cap: int | None = self.cleaned_data["cap"]
        if cap == 0:
            raise forms.ValidationError(_("A cap is at least 1 Toman. Leave it empty for no cap."))
        return cap

    def cap_micro(self) -> int | None:
        cap = self.cleaned_data["cap"]
        return None if cap is None else micro_from_toman(cap)

    def wanted_period(self) -> Period:
        return Period(self.cleaned_data["cap_period"])


class InviteForm(forms.Form):
    mobile = forms.CharField(
        label=_("Mobile number"),
        max_length=phone.MAX_TYPED_LENGTH,
        help_text=_("Tell them yourself: the invitation is on this page when they sign in with the number."),
        widget=forms.TextInput(
            attrs={"type": "tel", "inputmode": "tel", "autocomplete": "off", "dir": "ltr"}
        ),
    )
    role = forms.ChoiceField(label=_("Role"), choices=ROLES, initial=Role.MEMBER.value)

    def clean_mobile(self) -> str:
        try:
            return phone.normalise(self.cleaned_data["mobile"])
        except phone.InvalidMobile:
            raise forms.ValidationError(
                _("This is not an Iranian mobile number. Enter it like 09121234567.")
            ) from None

    def wanted_role(self) -> Role:
        return Role(self.cleaned_data["role"])
