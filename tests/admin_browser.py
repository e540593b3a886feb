"""A browser in which an admin is signed in, past the one-time code."""

from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.plugins.otp_totp.models import TOTPDevice

from tests.factories import UserFactory


def admin_browser() -> Client:
    admin = UserFactory.create(is_staff=True, is_superuser=True)
    device = TOTPDevice.objects.create(user=admin, name="phone")
    browser = Client()
    browser.force_login(admin)
    session = browser.session
    session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    session.save()
    browser.cookies["hamiran_language"] = "en"
    return browser
