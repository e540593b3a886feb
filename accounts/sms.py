"""SMS providers behind one interface; settings.SMS_PROVIDER picks."""

import sys

from django.conf import settings

from accounts.sms_providers.interface import NeedsOperator, NoAnswer, SMSError, SMSProvider, Unreachable
from accounts.sms_providers.kavenegar import Kavenegar
from accounts.sms_providers.smsir import SMSIr

__all__ = [
    "ConsoleSMS",
    "NeedsOperator",
    "NoAnswer",
    "NotConfigured",
    "SMSError",
    "SMSProvider",
    "Unreachable",
    "is_console",
    "provider",
]


class NotConfigured(Exception):
    """No provider is set up, so that nobody can sign in."""


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


def is_console() -> bool:
    """Whether no telephone gets the code, so that the sandbox's page has to show it."""
    return bool(settings.SANDBOX and settings.SMS_PROVIDER == "console")
