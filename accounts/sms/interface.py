"""What every SMS provider can do, and the ways in which it can fail. Pure: no Django."""

from typing import Protocol


class SMSError(Exception):
    """The provider did not take the message. Its text is for the log and names no number, key or code."""


class Unreachable(SMSError):
    """The provider was not even asked."""


class NoAnswer(SMSError):
    """No readable answer came; the message may have been sent all the same."""


class NumberRefused(SMSError):
    """The provider sends nothing to this number."""


class NeedsOperator(SMSError):
    """Nothing is sent to anyone until the operator has acted; the subclass says on what."""


class KeyRefused(NeedsOperator):
    """The provider does not know the key, or does not accept it from here."""


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
        contains it. Raises SMSError.
        """

    def send_text(self, *, mobile: str, text: str) -> None:
        """Likewise a message without a code. After NoAnswer it may have been sent, after any other SMSError not."""
