"""Value-added tax: which rate holds on a day, and what has to be paid for an amount of credit."""

from dataclasses import dataclass
from datetime import date

from wallet.money import MICRO_PER_RIAL
from wallet.payments.invoice_models import VATRate

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Quote:
    """`net_micro` is what the wallet gets, `payable_micro` what the payer pays for it."""

    net_micro: int
    vat_micro: int
    basis_points: int

    @property
    def payable_micro(self) -> int:
        return self.net_micro + self.vat_micro


def quote(*, net_micro: int, day: date) -> Quote:
    """What `net_micro` of credit costs on a day in Tehran. A day before the first rate has no VAT."""
    rate = VATRate.objects.filter(valid_from__lte=day).order_by("-valid_from", "-id").first()
    basis_points = rate.basis_points if rate else 0
    return Quote(net_micro, vat_of(net_micro=net_micro, basis_points=basis_points), basis_points)


def vat_of(*, net_micro: int, basis_points: int) -> int:
    """The VAT on an amount, rounded to a whole Rial, half a Rial up.

    >>> vat_of(net_micro=15_000_000, basis_points=1_000), vat_of(net_micro=14_999_999, basis_points=1_000)
    (2000000, 1000000)
    """
    divisor = BASIS_POINTS * MICRO_PER_RIAL
    return (net_micro * basis_points + divisor // 2) // divisor * MICRO_PER_RIAL
