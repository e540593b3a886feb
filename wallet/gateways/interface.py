"""What every payment gateway is to the rest of the wallet: start a payment, verify it, server to server. Pure."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


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
    """Paid, the amount that was asked for, now or before: a repeated answer is what a lost first one looks like."""

    ref_id: str
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class AmountDiffers:
    """Paid, but the gateway's amount is not ours: for a human to look at."""

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
    """Both calls may go over the network, so neither belongs inside a transaction. Neither raises for a failure."""

    name: str

    def start(self, payment: PaymentRequest) -> Started | GatewayError: ...

    def verify(self, *, authority: str, amount_micro: int) -> Verification: ...
