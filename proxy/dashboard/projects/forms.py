"""What a person fills in about a project and its people."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts import phone
from keys.projects.projects import Role
from proxy.dashboard.capped_form import CappedForm

ROLES = [
    (Role.MEMBER.value, _("Member: creates keys and manages their own")),
    (Role.VIEWER.value, _("Viewer: sees keys and usage")),
]


class ProjectForm(CappedForm):
    """A project's name and cap."""

    name_help = _("Everybody in the project sees it.")
    cap_help = _("The most that all keys of the project together may spend. Leave empty for no cap.")


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
