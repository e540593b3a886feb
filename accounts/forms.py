"""What people type into the sign-in pages, read kindly."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts import codes, phone
from accounts.shared.digits import ascii_digits


class MobileForm(forms.Form):
    mobile = forms.CharField(
        label=_("Mobile number"),
        max_length=phone.MAX_TYPED_LENGTH,
        error_messages={"required": _("Enter your mobile number.")},
        widget=forms.TextInput(
            attrs={
                "type": "tel",
                "inputmode": "tel",
                "autocomplete": "tel",
                "dir": "ltr",
                "autofocus": True,
                "placeholder": _("0912 345 6789"),
            }
        ),
    )

    def clean_mobile(self) -> str:
        try:
            return phone.normalise(self.cleaned_data["mobile"])
        except phone.InvalidMobile:
            raise forms.ValidationError(
                _("This is not an Iranian mobile number. Enter it like 09121234567.")
            ) from None


class BlankInput(forms.TextInput):
    """Comes back empty: a code that was refused is not to be typed onto."""

    def format_value(self, value: object) -> None:
        return None


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Six-digit code"),
        max_length=20,
        error_messages={"required": _("Enter the code from the SMS.")},
        widget=BlankInput(
            attrs={
                "inputmode": "numeric",
                "autocomplete": "one-time-code",
                "dir": "ltr",
                "autofocus": True,
                "class": "code-input",
                "data-code": "",
            }
        ),
    )

    def clean_code(self) -> str:
        code = "".join(ascii_digits(self.cleaned_data["code"].translate(phone.INVISIBLE)).split())
        if not codes.is_code(code):
            raise forms.ValidationError(_("The code has six digits. Check the SMS again."))
        return code
