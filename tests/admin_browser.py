"""A browser in which an admin is signed in, past the one-time code."""

from django.contrib.auth.models import Permission
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY

from accounts import secrets
from accounts.admin_models import Authenticator
from accounts.models import User
from tests.factories import UserFactory

SEED = "3132333435363738393031323334353637383930"


def admin_browser(admin: User | None = None) -> Client:
    """Of a new superuser, or of `admin`."""
    admin = admin or UserFactory.create(is_staff=True, is_superuser=True)
    device = Authenticator.objects.create(user=admin, name="phone", seed_encrypted=secrets.encrypt(SEED))
    browser = Client()
    browser.force_login(admin)
    session = browser.session
    session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    session.save()
    browser.cookies["hamiran_language"] = "en"
    return browser


def staff_browser(*permissions: str) -> Client:
    """Of an admin who is no superuser and may do this, such as `change_user`."""
    admin = UserFactory.create(is_staff=True)
    admin.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return admin_browser(admin)
