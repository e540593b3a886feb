"""A wallet's history as its owner reads it: newest first, each row with the balance after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from accounts.shared.downloads import BYTE_ORDER_MARK, csv_bytes
from accounts.shared.formats import TEHRAN, jalali_text
from wallet.ledger.models import JournalEntry
from wallet.money import toman_figure

PAGE_SIZE = 50
CSV_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries: of one kind, from `since` on, before `until` (aware times). None: all."""

    kind: JournalEntry.Kind | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = Filter()


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


def page(
    *, user_id: int, before: int | None = None, size: int = PAGE_SIZE, wanted: Filter = EVERYTHING
) -> StatementPage:
    """Up to `size` rows older than the cursor `before`. Without a period it reads only them, however long the
    history is."""
    found = _rows(user_id, wanted, before=before, limit=size + 1)
    rows = found[:size]
    return StatementPage(rows=rows, older=rows[-1].entry_id if len(found) > size else None)


@dataclass(frozen=True, slots=True)
class CSVWording:
    """The texts of a CSV file, which is written when the page's language is no longer known."""

    header: tuple[str, ...]
    kinds: dict[str, str]


def csv_chunks(*, user_id: int, wanted: Filter, wording: CSVWording) -> Iterator[bytes]:
    """The statement as CSV, newest first, in pieces: time (ISO 8601, Tehran), Jalali day, what for, reference, amount
    and balance in Toman, exactly.

    Each piece is a short query of its own, so neither memory nor a transaction grows with the history.
    """
    yield BYTE_ORDER_MARK.encode() + csv_bytes([wording.header])
    before = None
    while rows := _rows(user_id, wanted, before=before, limit=CSV_BATCH):
        before = rows[-1].entry_id
        yield csv_bytes([_cells(row, wording) for row in rows])


def _cells(row: StatementRow, wording: CSVWording) -> tuple[str, ...]:
    return (
        row.created_at.astimezone(TEHRAN).isoformat(timespec="seconds"),
        jalali_text(row.created_at),
        wording.kinds[row.kind],
        str(row.transaction_id),
        toman_figure(row.amount_micro),
        toman_figure(row.balance_micro),
    )


def _rows(user_id: int, wanted: Filter, *, before: int | None, limit: int) -> list[StatementRow]:
    entries = _entries(user_id, wanted)
    if before is not None:
        entries = entries.filter(id__lt=before)
    found = entries.values_list("id", "created_at", "kind", "transaction_id", "amount_micro", "balance_micro")
    return [_row(values) for values in found[:limit]]


def _row(values: tuple[int, datetime, str, UUID, int, int | None]) -> StatementRow:
    entry_id, created_at, kind, transaction_id, amount_micro, balance_micro = values
    assert balance_micro is not None, "journal_wallet_and_balance"
    return StatementRow(
        entry_id, created_at, JournalEntry.Kind(kind), transaction_id, amount_micro, balance_micro
    )


def _entries(user_id: int, wanted: Filter) -> QuerySet[JournalEntry]:
    entries = JournalEntry.objects.filter(wallet_id=user_id).order_by("-id")
    if wanted.kind is not None:
        entries = entries.filter(kind=wanted.kind)
    if wanted.since is not None:
        entries = entries.filter(created_at__gte=wanted.since)
    if wanted.until is not None:
        entries = entries.filter(created_at__lt=wanted.until)
    return entries
