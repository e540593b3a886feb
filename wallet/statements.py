"""A wallet's history as its owner reads it: newest first, each row with the balance after it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wallet.models import JournalEntry

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class StatementRow:
    """`amount_micro` is positive for money that came in; `transaction_id` is the top-up or request behind it."""

    entry_id: int
    created_at: datetime
    kind: JournalEntry.Kind
    transaction_id: UUID
    amount_micro: int
    balance_micro: int


@dataclass(frozen=True, slots=True)
class StatementPage:
    """`older` is the cursor of the next page; None on the last."""

    rows: list[StatementRow]
    older: int | None


def page(*, user_id: int, before: int | None = None, size: int = PAGE_SIZE) -> StatementPage:
    """Up to `size` rows older than the cursor `before`. Reads only them, however long the history is."""
    entries = JournalEntry.objects.filter(wallet_id=user_id).order_by("-id")
    if before is not None:
        entries = entries.filter(id__lt=before)
    found = [_row(entry) for entry in entries[: size + 1]]
    rows = found[:size]
    return StatementPage(rows=rows, older=rows[-1].entry_id if len(found) > size else None)


def _row(entry: JournalEntry) -> StatementRow:
    assert entry.balance_micro is not None, "journal_wallet_and_balance"
    return StatementRow(
        entry_id=entry.pk,
        created_at=entry.created_at,
        kind=JournalEntry.Kind(entry.kind),
        transaction_id=entry.transaction_id,
        amount_micro=entry.amount_micro,
        balance_micro=entry.balance_micro,
    )
