"""The two steps of signing in: ask for a code, answer with it."""

import logging
import uuid
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import challenges, codes, opening, phone
from accounts.models import User
from accounts.sms import sending

logger = logging.getLogger(__name__)


class SendFailed(Exception):
    """The SMS provider did not take the code; the person may try again after `wait_seconds`."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


class WrongCode(Exception):
    """The code does not match; `tries_remaining` of `max_tries` remain."""

    def __init__(self, tries_remaining: int, max_tries: int) -> None:
        super().__init__(tries_remaining, max_tries)
        self.tries_remaining, self.max_tries = tries_remaining, max_tries


class AccountClosed(Exception):
    """The code was right, and an admin has closed the number's account."""


def send_code(
    *, mobile: str, address: str, now: datetime, is_known_browser: bool = False
) -> challenges.Issued:
    """Sends a code to an E.164 number, on behalf of a client address (as `addresses.counted` writes it).

    The same happens for numbers with and without an account; a browser that has signed in with the number before has
    a part of the budget to itself. The SMS leaves after the challenge is committed.
    Raises challenges.Refused, SendFailed, sms.NotConfigured.
    """
    sending.provider()  # before anything is issued
    try:
        issued = challenges.issue(mobile=mobile, address=address, now=now, is_known_browser=is_known_browser)
    except challenges.OverBudget:
        logger.error("codes_over_budget", extra={"limit_per_hour": settings.CODES_PER_HOUR})  # noqa: TRY400
        raise
    text = codes.sms_text(
        line=_("Hamiran code: %(code)s") % {"code": issued.code},
        host=urlsplit(settings.BASE_URL).hostname or "",
        code=issued.code,
    )
    try:
        sending.send_code(mobile=mobile, code=issued.code, text=text)
    except sending.SendError as error:
        challenges.void(challenge_id=issued.id, now=now)
        logger.log(
            logging.ERROR
            if isinstance(error, sending.NeedsOperator | sending.OverBudget)
            else logging.WARNING,
            "sms_failed",
            extra={"mobile": phone.masked(mobile), "error": type(error).__name__, "reason": str(error)},
        )
        raise SendFailed(int((issued.resend_at - now).total_seconds())) from error
    return issued


def verify_code(*, challenge_id: uuid.UUID, browser_secret: str, code: str, now: datetime) -> User:
    """The user whose code it is; the first time, the account is opened.

    `code` is six ASCII digits. Raises WrongCode, challenges.NotValid, AccountClosed.
    """
    attempt = challenges.count_try(challenge_id=challenge_id, browser_secret=browser_secret, now=now)
    pepper = settings.PEPPERS.get(attempt.pepper_version)
    if pepper is None:  # taken out of service since
        raise challenges.NotValid
    given = codes.digest(pepper=pepper, challenge_id=challenge_id, mobile=attempt.mobile, code=code)
    if not codes.matches(attempt.digest, given):
        raise WrongCode(attempt.tries_remaining, attempt.max_tries)
    with transaction.atomic():
        challenges.consume(challenge_id=challenge_id, now=now)
        user = opening.open_account(mobile=attempt.mobile)
    if not user.is_active:
        raise AccountClosed
    return user
