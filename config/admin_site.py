"""The admin site: mobile number, password, and a code of an authenticator app; the session is short."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django_otp import devices_for_user
from django_otp.admin import OTPAdminAuthenticationForm, OTPAdminSite
from django_otp.models import Device

from accounts import phone, sessions
from accounts.models import User

SESSION_SECONDS = 8 * 3600


class AdminLoginForm(OTPAdminAuthenticationForm):
    otp_token = forms.CharField(
        label=_("Code of the authenticator app"),
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "dir": "ltr"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs.update(
            {"maxlength": phone.MAX_TYPED_LENGTH, "inputmode": "tel", "dir": "ltr"}
        )
        self.fields["password"].widget.attrs["dir"] = "ltr"

    def clean_username(self) -> str:
        """The number as it is stored, so that guesses are counted together however it is typed."""
        typed: str = self.cleaned_data["username"]
        try:
            return phone.normalise(typed)
        except phone.InvalidMobile:
            return typed

    def clean_otp_token(self) -> str:
        return phone.ascii_digits(self.cleaned_data["otp_token"]).strip()

    def _chosen_device(self, user: User) -> Device | None:
        # Nobody is asked to choose from a list of one.
        chosen: Device | None = super()._chosen_device(user)  # type: ignore[no-untyped-call]
        devices: list[Device] = list(devices_for_user(user, for_verify=True))  # type: ignore[no-untyped-call]
        return devices[0] if chosen is None and len(devices) == 1 else chosen

    def _update_form(self, user: User) -> None:
        # Unlike the parent's, this one does not write the password into the page.
        self.fields["otp_device"].widget.choices = self.device_choices(user)  # type: ignore[no-untyped-call]


class AdminSite(OTPAdminSite):
    site_title = site_header = _("Hamiran administration")
    login_form = AdminLoginForm
    login_template = "admin/otp_login.html"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)  # type: ignore[no-untyped-call]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().login(request, extra_context)
        if request.method == "POST" and response.status_code == 302:
            request.session.set_expiry(SESSION_SECONDS)
            sessions.note_browser(request)
        return response

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if request.method == "POST":
            sessions.sign_out(request)
        return super().logout(request, extra_context)
