"""The admin site: mobile number, password, and a code of an authenticator app; the session is short."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _
from django_otp import devices_for_user
from django_otp.admin import OTPAdminAuthenticationForm, OTPAdminSite
from django_otp.models import Device

from accounts import admins, audit, phone, sessions
from accounts.models import User
from accounts.shared.digits import ascii_digits
from config.admin import front

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

    def clean(self) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = super().clean()
        except forms.ValidationError:
            self._note_refusal()
            raise
        return cleaned

    def _note_refusal(self) -> None:
        if self.request is None or getattr(self.request, "axes_locked_out", False):
            return  # guesses beyond those that were counted are no news
        user = User.objects.filter(mobile=self.cleaned_data.get("username"), is_staff=True).first()
        if user is not None:
            audit.note_sign_in(user=user, address=sessions.address_of(self.request), succeeded=False)

    def clean_otp_token(self) -> str:
        return ascii_digits(self.cleaned_data["otp_token"]).strip()

    def _chosen_device(self, user: User) -> Device | None:
        # Nobody is asked to choose from a list of one.
        chosen: Device | None = super()._chosen_device(user)
        devices: list[Device] = list(devices_for_user(user, for_verify=True))
        return devices[0] if chosen is None and len(devices) == 1 else chosen

    def _update_form(self, user: User) -> None:
        # Unlike the parent's, this one does not write the password into the page.
        self.fields["otp_device"].widget.choices = self.device_choices(user)


class AdminSite(OTPAdminSite):
    site_title = site_header = _("Hamiran administration")
    login_form = AdminLoginForm
    login_template = "admin/otp_login.html"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().login(request, extra_context)
        if request.method == "POST" and response.status_code == 302:
            request.session.set_expiry(SESSION_SECONDS)
            sessions.note_browser(request)
            assert isinstance(request.user, User), "the login has just succeeded"
            audit.note_sign_in(
                user=request.user,
                address=sessions.address_of(request),
                succeeded=True,
            )
        return response

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """One's own, with the present one; all admins are told."""
        response = super().password_change(request, extra_context)
        if request.method == "POST" and response.status_code == 302:
            admins.tell(
                _("Hamiran: %(admin)s has a new password for the administration."),
                admin=admins.name(request.user.get_username()),
            )
        return response

    def get_urls(self) -> list[Any]:
        return [
            path("figures/<slug:name>/", self.admin_view(front.table), name="figures"),
            path("figures/<slug:name>.csv", self.admin_view(front.table_csv), name="figures_csv"),
            *super().get_urls(),
        ]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Asked for twice by the front page, and made of some hundred rights and addresses."""
        if app_label is not None:
            return super().get_app_list(request, app_label)
        of_request = vars(request)
        if "app_list" not in of_request:
            of_request["app_list"] = super().get_app_list(request)
        found: list[Any] = of_request["app_list"]
        return found

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**front.context(request), **(extra_context or {})})

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if request.method == "POST":
            sessions.sign_out(request)
        return super().logout(request, extra_context)
