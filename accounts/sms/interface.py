"""What every SMS provider can do, and how it fails beyond what every channel can. Pure: no Django."""

from typing import Protocol

from accounts.shared.channel import NeedsOperator, RecipientRefused


class NumberRefused(RecipientRefused):
    """The provider sends nothing to this number."""


class OutOfCredit(NeedsOperator):
    """The account with the provider is empty."""


class TemplateRefused(NeedsOperator):
    """The template does not exist, is not approved yet, or has no place for the code."""


class LineRefused(NeedsOperator):
    """The line that plain texts are to leave from is not set, or not the account's."""


class SMSProvider(Protocol):
    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        """Hands a one-time code over, within time-outs of its own.

        `mobile` is E.164. Providers that fill a template of their own take `code`, the others `text`, which
        contains it. Raises SendError.
        """

    def send_text(self, *, mobile: str, text: str) -> None:
        """Likewise a message without a code. After NoAnswer it may have been sent, after any other SendError not."""
