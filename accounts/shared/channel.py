"""What every channel to a person can do (SMS, the bots of messengers), and the ways in which it can fail. Pure."""

from typing import Protocol


class SendError(Exception):
    """The message was not taken. The text of the error is for the log and names no person, key or message."""


class Unreachable(SendError):
    """The provider was not even asked."""


class NoAnswer(SendError):
    """No readable answer came; the message may have been sent all the same."""


class RecipientRefused(SendError):
    """Nothing is sent to this recipient, now or later."""


class TooFast(SendError):
    """Nothing more is taken for a while."""

    def __init__(self, reason: str, *, retry_after_seconds: int) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class NeedsOperator(SendError):
    """Nothing is sent to anyone until the operator has acted; the subclass says on what."""


class KeyRefused(NeedsOperator):
    """The provider does not know the key, or does not accept it from here."""


class Channel(Protocol):
    def send_text(self, *, to: str, text: str) -> None:
        """Hands a message over, within time-outs of its own. `to` is how the channel knows the recipient.

        Raises SendError. After NoAnswer the message may have been sent, after any other not.
        """
