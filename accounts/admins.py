"""Admins: users who may enter the admin site with a password and an authenticator app, and what they learn of each
other."""

import logging
import secrets as random
from base64 import b32encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import opening, phone, secrets
from accounts.admin_models import Authenticator
from accounts.models import User
from accounts.shared.formats import digits_text
from accounts.sms import sending

logger = logging.getLogger(__name__)

SEED_BYTES = 20


@dataclass(frozen=True, slots=True)
class Admin:
    """`otpauth_url` holds the authenticator's seed: to be shown once."""

    mobile: str
    otpauth_url: str


def make(*, mobile: str, password: str) -> Admin:
    """Makes or promotes the account of an E.164 number, replacing its password and authenticator.

    All admins are told. Opens a transaction. Raises ValidationError for a weak password.
    """
    seed = random.token_bytes(SEED_BYTES)
    with transaction.atomic():
        user = opening.open_account(mobile=mobile)
        validate_password(password, user)
        user.set_password(password)
        user.is_staff = user.is_superuser = user.is_active = True
        user.save()
        for old in Authenticator.objects.filter(user=user):
            old.delete()
        Authenticator.objects.create(
            user=user, name="authenticator", confirmed=True, seed_encrypted=secrets.encrypt(seed.hex())
        )
        tell(
            _(
                "Hamiran: on the server, %(admin)s was made an admin or given a new password and authenticator."
            ),
            admin=name(mobile),
        )
    return Admin(mobile, _otpauth_url(mobile, seed))


def rotate_seeds() -> int:
    """Encrypts all seeds under the newest of FIELD_KEYS; returns how many. Opens a transaction.

    Raises secrets.Undecryptable, after which nothing has changed.
    """
    with transaction.atomic():
        authenticators = list(Authenticator.objects.select_for_update(no_key=True))
        for each in authenticators:
            each.seed_encrypted = secrets.rotate(each.seed_encrypted)
        # In bulk, past the audit log: no seed changes, only what wraps it.
        Authenticator.objects.bulk_update(authenticators, ["seed_encrypted"])
    return len(authenticators)


@contextmanager
def watched(*, by: User) -> Iterator[None]:
    """Whatever gives rights while this lasts is noted with whom it gives them to; all admins of before and after are
    told. Opens a transaction, so that the rights and the note come together."""
    with transaction.atomic():
        before, told = _rights(), _mobiles()
        yield
        after = _rights()
        gained = [user_id for user_id, rights in after.items() if rights - before.get(user_id, frozenset())]
        User.objects.filter(pk__in=gained).update(empowered_at=timezone.now())
        changed = [user_id for user_id in {*before, *after} if before.get(user_id) != after.get(user_id)]
        for mobile in User.objects.filter(pk__in=changed).order_by("pk").values_list("mobile", flat=True):
            tell(
                _("Hamiran: %(by)s changed the rights of %(admin)s in the administration."),
                also=told,
                by=name(by.mobile),
                admin=name(mobile),
            )


def tell(message: Promise, *, also: frozenset[str] = frozenset(), **values: str) -> None:
    """Sends an SMS to every admin, and to the numbers of `also`, as `notify` does."""
    notify(message, to=_mobiles() | also, **values)


def tell_of_approval(*, admin_id: int, what: Promise, **values: str) -> None:
    """Tells all admins what one of them has approved: `what % values`."""
    with translation.override(settings.LANGUAGE_CODE):
        tell(
            _("Hamiran: %(admin)s approved %(what)s in the administration."),
            admin=name(User.objects.values_list("mobile", flat=True).get(pk=admin_id)),
            what=str(what) % values,
        )


def notify(message: Promise, *, to: frozenset[str], **values: str) -> None:
    """Sends `message % values` by SMS once the transaction is committed; what cannot be sent is logged.

    It is lazy, for it is sent in the language of settings.LANGUAGE_CODE.
    """
    with translation.override(settings.LANGUAGE_CODE):
        text = str(message) % values
    transaction.on_commit(lambda: _send(text, sorted(to)), robust=True)


def name(mobile: str) -> str:
    """How an SMS to admins names the owner of this number."""
    return digits_text(phone.local(mobile), language=settings.LANGUAGE_CODE)


def _send(text: str, mobiles: list[str]) -> None:
    for mobile in mobiles:
        try:
            sending.send_notice(mobile=mobile, text=text)
        except (sending.NotConfigured, sending.SendError) as error:
            logger.error(  # noqa: TRY400 - a provider that is away is no fault of the code
                "notice_not_sent",
                extra={"mobile": phone.masked(mobile), "error": type(error).__name__, "reason": str(error)},
            )


def _mobiles() -> frozenset[str]:
    return frozenset(User.objects.filter(is_staff=True, is_active=True).values_list("mobile", flat=True))


def _rights() -> dict[int, frozenset[str]]:
    """What each admin may do."""
    rights = {}
    for user in User.objects.filter(is_staff=True, is_active=True):
        held = {"admin", "superuser"} if user.is_superuser else {"admin"}
        rights[user.pk] = frozenset(held | user.get_all_permissions())
    return rights


def _otpauth_url(mobile: str, seed: bytes) -> str:
    """What an authenticator app reads from a QR code:
    https://github.com/google/google-authenticator/wiki/Key-Uri-Format"""
    issuer = settings.OTP_TOTP_ISSUER
    parameters = {
        "secret": b32encode(seed).decode(),
        "algorithm": "SHA1",
        "digits": 6,
        "period": 30,
        "issuer": issuer,
    }
    return f"otpauth://totp/{quote(f'{issuer}:{mobile}')}?{urlencode(parameters, quote_via=quote)}"
