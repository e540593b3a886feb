"""Invoices: issued with the credit of a top-up, numbered from 1 without a gap, never changed afterwards."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from wallet.payments.invoice_models import BuyerDetails, Invoice, Particulars, SellerDetails
from wallet.payments.models import TopUp

PAGE_SIZE = 50
FIELDS = ("name", "economic_code", "national_id", "address", "postal_code")
# One statement, which also locks the row until the transaction ends: a rollback gives the number back.
NEXT_NUMBER = "UPDATE wallet_invoicecounter SET last_number = last_number + 1 RETURNING last_number"


class UnknownInvoice(Exception):
    """This top-up has no invoice, or belongs to another user."""


@dataclass(frozen=True, slots=True)
class ListedInvoice:
    number: int
    topup_id: UUID
    issued_at: datetime
    total_micro: int


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """`older` is the cursor of the next page; None on the last."""

    invoices: list[ListedInvoice]
    older: int | None


def issue(*, topup: TopUp) -> int:
    """Writes the invoice of a top-up that is being credited and returns its number.

    Needs the transaction of the credit, and belongs at its end: other credits wait for the number from here on.
    """
    assert transaction.get_connection().in_atomic_block, (
        "an invoice belongs into the transaction of its credit"
    )
    with connection.cursor() as cursor:
        cursor.execute(NEXT_NUMBER)
        [number] = cursor.fetchone()
    seller = SellerDetails.objects.first() or SellerDetails()
    buyer = BuyerDetails.objects.filter(pk=topup.user_id).first() or BuyerDetails()
    Invoice.objects.create(
        number=number,
        topup=topup,
        buyer_mobile=topup.user.mobile,
        net_micro=topup.amount_micro,
        vat_basis_points=topup.vat_basis_points,
        vat_micro=topup.vat_micro,
        total_micro=topup.payable_micro,
        **_snapshot("seller", seller),
        **_snapshot("buyer", buyer),
    )
    return int(number)


def get(*, user_id: int, topup_id: UUID) -> Invoice:
    """The invoice of one of a user's top-ups. Raises UnknownInvoice."""
    invoice = Invoice.objects.filter(topup_id=topup_id, topup__user_id=user_id).first()
    if invoice is None:
        raise UnknownInvoice(topup_id)
    return invoice


def page(*, user_id: int, before: int | None = None, size: int = PAGE_SIZE) -> InvoicePage:
    """Up to `size` of a user's invoices with a number below `before`, newest first."""
    found = Invoice.objects.filter(topup__user_id=user_id)
    if before is not None:
        found = found.filter(number__lt=before)
    listed = [
        ListedInvoice(invoice.number, invoice.topup_id, invoice.issued_at, invoice.total_micro)
        for invoice in found.order_by("-number")[: size + 1]
    ]
    shown = listed[:size]
    return InvoicePage(shown, older=shown[-1].number if len(listed) > size else None)


def buyer_details(user_id: int) -> BuyerDetails:
    """What a user wants on invoices; an unsaved empty row where nothing was said yet."""
    return BuyerDetails.objects.filter(pk=user_id).first() or BuyerDetails(user_id=user_id)


def _snapshot(side: str, particulars: Particulars) -> dict[str, str]:
    return {f"{side}_{field}": getattr(particulars, field) for field in FIELDS}
