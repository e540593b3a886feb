"""SMS providers behind one interface; settings.SMS_PROVIDER picks."""

import contextlib
import sys
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from prometheus_client import Counter

from accounts.models import SentSMS
from accounts.shared.channel import NeedsOperator, NoAnswer, SendError, Unreachable
from accounts.sms.interface import SMSProvider
from accounts.sms.kavenegar import Kavenegar
from accounts.sms.smsir import SMSIr

__all__ = [
    "ConsoleSMS",
    "NeedsOperator",
    "NoAnswer",
    "NotConfigured",
    "OverBudget",
    "SMSProvider",
    "SendError",
    "Unreachable",
    "is_console",
    "provider",
    "send_code",
    "send_notice",
    "send_text",
]


BUDGET_WINDOW = timedelta(hours=1)
SENT = Counter("hamiran_sms", "SMS given to the provider, and what became of it", ["kind", "outcome"])


class NotConfigured(Exception):
    """No provider is set up, so nobody can sign in."""


class OverBudget(SendError):
    """All messages together have used the hour's budget up; this one was not sent."""


class ConsoleSMS:
    """Writes the message to standard output: for the sandbox, where that is the telephone."""

    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        self.send_text(mobile=mobile, text=text)

    def send_text(self, *, mobile: str, text: str) -> None:
        sys.stdout.write(f"SMS to {mobile}: {text}\n")
        sys.stdout.flush()


def provider() -> SMSProvider:
    """The provider that sends now. Raises NotConfigured."""
    if is_console():
        return ConsoleSMS()
    match settings.SMS_PROVIDER:
        case "kavenegar":
            return Kavenegar(
                base_url=settings.KAVENEGAR_BASE_URL,
                api_key=settings.KAVENEGAR_API_KEY,
                template=settings.KAVENEGAR_TEMPLATE,
                sender=settings.KAVENEGAR_SENDER,
            )
        case "smsir":
            return SMSIr(
                base_url=settings.SMSIR_BASE_URL,
                api_key=settings.SMSIR_API_KEY,
                template_id=settings.SMSIR_TEMPLATE_ID,
                line_number=settings.SMSIR_LINE_NUMBER,
            )
        case _:
            raise NotConfigured


def send_code(*, mobile: str, code: str, text: str) -> None:
    """As the provider's, within the budget of all messages. Raises SendError, OverBudget among them, NotConfigured."""
    sender = provider()
    with _counted("code"):
        _take_from_budget()
        sender.send_code(mobile=mobile, code=code, text=text)


def send_text(*, mobile: str, text: str) -> None:
    """Likewise for a message without a code."""
    sender = provider()
    with _counted("text"):
        _take_from_budget()
        sender.send_text(mobile=mobile, text=text)


def send_notice(*, mobile: str, text: str) -> None:
    """Likewise for what admins and owners have to hear: counted, but never held back by messages of others.

    Somebody who uses up the budget must not silence the alarm. Raises SendError, NotConfigured.
    """
    sender = provider()
    with _counted("notice"):
        _take_from_budget(even_beyond=True)
        sender.send_text(mobile=mobile, text=text)


@contextlib.contextmanager
def _counted(kind: str) -> Iterator[None]:
    """By how it ended: `sent`, or the name of the error."""
    try:
        yield
    except SendError as error:
        SENT.labels(kind, type(error).__name__).inc()
        raise
    SENT.labels(kind, "sent").inc()


def _take_from_budget(*, even_beyond: bool = False) -> None:
    """Counted before it is sent: it is not always known whether one went out."""
    now = timezone.now()
    if (
        not even_beyond
        and SentSMS.objects.filter(sent_at__gt=now - BUDGET_WINDOW).count() >= settings.SMS_PER_HOUR
    ):
        raise OverBudget("SMS_PER_HOUR is used up")
    SentSMS.objects.create(sent_at=now)


def purge() -> None:
    """Removes what no budget counts any more."""
    SentSMS.objects.filter(sent_at__lt=timezone.now() - 2 * BUDGET_WINDOW).delete()


def is_console() -> bool:
    """Whether no telephone gets the code, so that the sandbox's page has to show it."""
    return bool(settings.SANDBOX and settings.SMS_PROVIDER == "console")
