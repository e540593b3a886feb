"""Admins: a user who may enter the admin site with a password and an authenticator app."""

from dataclasses import dataclass

from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import opening


@dataclass(frozen=True, slots=True)
class Admin:
    """`otpauth_url` holds the authenticator's secret: to be shown once."""

    mobile: str
    otpauth_url: str


def make(*, mobile: str, password: str) -> Admin:
    """Makes or promotes the account of an E.164 number, replacing its password and authenticators.

    Opens a transaction. Raises ValidationError for a weak password.
    """
    with transaction.atomic():
        user = opening.open_account(mobile=mobile)
        validate_password(password, user)
        user.set_password(password)
        user.is_staff = user.is_superuser = user.is_active = True
        user.save()
        TOTPDevice.objects.filter(user=user).delete()
        device = TOTPDevice.objects.create(user=user, name="authenticator", confirmed=True)
    return Admin(mobile, device.config_url)
