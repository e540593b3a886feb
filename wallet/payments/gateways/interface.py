"""What every payment gateway is to the rest of the wallet: start a payment, verify it, server to server. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

AUTHORITY = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What a gateway is told before the payer goes there. `callback_url` is where it sends the payer back to."""

    topup_id: UUID
    amount_micro: int
    mobile: str
    callback_url: str


@dataclass(frozen=True, slots=True)
class Started:
    """The gateway knows the payment as `authority`; the payer goes to `redirect_url`."""

    authority: str
    redirect_url: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The amount that was asked for is paid, now or earlier: a repeated answer stands for a first one that was lost.

    `card_pan` is the payer's card, masked, where the gateway tells it.
    """

    ref_id: str
    is_repeated: bool
    card_pan: str = ""


@dataclass(frozen=True, slots=True)
class AmountDiffers:
    """Paid, but the gateway names another amount: a human has to look at it."""

    detail: str


@dataclass(frozen=True, slots=True)
class NotPaid:
    """Nothing was paid."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Nothing is paid yet, and it still can be."""


@dataclass(frozen=True, slots=True)
class GatewayError:
    """The gateway could not be reached or gave no usable answer; nothing is known about the payment."""

    detail: str


Verification = Verified | AmountDiffers | NotPaid | Pending | GatewayError


class PaymentGateway(Protocol):
    """`start`, `verify` and `unverified` may go over the network, so none belongs inside a transaction.

    None raises for a failure of the gateway. `form_targets` are the CSP sources that a form may lead to when its
    answer sends the payer there.
    """

    @property
    def name(self) -> str: ...

    @property
    def form_targets(self) -> Sequence[str]: ...

    def start(self, payment: PaymentRequest) -> Started | GatewayError: ...

    def verify(self, *, authority: str, amount_micro: int) -> Verification: ...

    def unverified(self) -> Sequence[str] | GatewayError:
        """Authorities that were paid and not verified yet, as far as the gateway lists them."""

    def returned_authority(self, query: Mapping[str, str]) -> str | None:
        """Which payment the payer's browser says to come back from. Nothing else of it is read."""


def masked_pan(pan: object) -> str:
    """A card number as the first six and last four digits, whatever came; empty where it is no card number.

    >>> masked_pan("6104337812345678"), masked_pan("610433******5678"), masked_pan(None)
    ('610433******5678', '610433******5678', '')
    """
    text = str(pan)
    if not re.fullmatch(r"[0-9]{6}[0-9*Xx]{2,9}[0-9]{4}", text):
        return ""
    return text[:6] + "*" * (len(text) - 10) + text[-4:]
