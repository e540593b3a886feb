"""SMS providers behind one interface; settings.SMS_PROVIDER picks."""

import sys
from typing import Protocol

from django.conf import settings


class SMSError(Exception):
    """The provider did not take the message. Its text is for the log and names no number, key or code."""


class NotConfigured(Exception):
    """No provider is set up, so that nobody can sign in."""


class SMSProvider(Protocol):
    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        """Hands a one-time code over, within `TIMEOUT_SECONDS` of its own.

        `mobile` is E.164. Providers that fill a template of their own take `code`, the others `text`, which
        contains it. Raises SMSError.
        """

    def send_text(self, *, mobile: str, text: str) -> None:
        """Likewise a message without a code. SMSError means that it was not sent."""


class ConsoleSMS:
    """Writes the message to standard output: for the sandbox, where that is the telephone."""

    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        self.send_text(mobile=mobile, text=text)

    def send_text(self, *, mobile: str, text: str) -> None:
        sys.stdout.write(f"SMS to {mobile}: {text}\n")
        sys.stdout.flush()


def provider() -> SMSProvider:
    """The provider that sends now. Raises NotConfigured."""
    if settings.SMS_PROVIDER == "console" and settings.SANDBOX:
        return ConsoleSMS()
    raise NotConfigured
