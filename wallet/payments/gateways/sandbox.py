"""The play gateway of the sandbox, with a book and a payment page of its own.

It is as honest as a real one: only its own page makes a payment paid, and it verifies nothing else.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from wallet.payments.gateways.interface import (
    AmountDiffers,
    NotPaid,
    PaymentRequest,
    Pending,
    Started,
    Verification,
    Verified,
)
from wallet.payments.models import SandboxPayment

PAYMENT_LIFETIME = timedelta(minutes=15)


class UnknownPayment(Exception):
    """The gateway never started such a payment."""


class SandboxGateway:
    name = "sandbox"
    form_targets: Sequence[str] = ()  # its page is one of ours

    def start(self, payment: PaymentRequest) -> Started:
        authority = "S" + secrets.token_hex(18)
        SandboxPayment.objects.create(
            authority=authority, amount_micro=payment.amount_micro, callback_url=payment.callback_url
        )
        return Started(authority=authority, redirect_url=reverse("wallet:sandbox_payment", args=[authority]))

    def verify(self, *, authority: str, amount_micro: int) -> Verification:
        payment = SandboxPayment.objects.filter(pk=authority).first()
        if payment is None or payment.status == SandboxPayment.Status.CANCELLED:
            return NotPaid()
        if payment.status == SandboxPayment.Status.OPEN:
            return Pending() if _is_payable(payment) else NotPaid()
        if payment.amount_micro != amount_micro:
            return AmountDiffers(f"asked about {amount_micro}, paid {payment.amount_micro} micro-Rial")
        assert payment.ref_id is not None, "sandbox_paid_has_reference"
        is_first = SandboxPayment.objects.filter(pk=authority, verified_at=None).update(
            verified_at=timezone.now()
        )
        return Verified(ref_id=payment.ref_id, is_repeated=not is_first)

    def unverified(self) -> Sequence[str]:
        return ()

    def returned_authority(self, query: Mapping[str, str]) -> str | None:
        return query.get("Authority")


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """What the payer sees; `return_url` leads back to the shop."""

    amount_micro: int
    is_open: bool
    status: SandboxPayment.Status
    return_url: str


def page(authority: str) -> PaymentPage:
    """Raises UnknownPayment."""
    payment = SandboxPayment.objects.filter(pk=authority).first()
    if payment is None:
        raise UnknownPayment(authority)
    status = SandboxPayment.Status(payment.status)
    outcome = "OK" if status == SandboxPayment.Status.PAID else "NOK"
    return PaymentPage(
        amount_micro=payment.amount_micro,
        is_open=_is_payable(payment),
        status=status,
        return_url=f"{payment.callback_url}?{urlencode({'Authority': authority, 'Status': outcome})}",
    )


def decide(authority: str, *, pays: bool) -> PaymentPage:
    """The payer's click on pay or cancel: the first one counts, and only while the payment is open."""
    choice = (
        {"status": SandboxPayment.Status.PAID, "ref_id": str(10**11 + secrets.randbelow(9 * 10**11))}
        if pays
        else {"status": SandboxPayment.Status.CANCELLED}
    )
    SandboxPayment.objects.filter(
        pk=authority, status=SandboxPayment.Status.OPEN, created_at__gt=timezone.now() - PAYMENT_LIFETIME
    ).update(**choice)
    return page(authority)


def _is_payable(payment: SandboxPayment) -> bool:
    return (
        payment.status == SandboxPayment.Status.OPEN
        and payment.created_at > timezone.now() - PAYMENT_LIFETIME
    )
