"""CSV files of any length, sent as they are made."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

BYTE_ORDER_MARK = "\ufeff"  # by which Excel knows that this is UTF-8
# What a spreadsheet would take for the beginning of a formula (OWASP, "CSV injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of a file, with every cell in quotation marks, so that separators in it do no harm."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def harmless(text: str) -> str:
    """A text of a user's choice, written so that a spreadsheet shows it instead of evaluating it.

    >>> harmless("=1+1"), harmless("shop")
    ("'=1+1", 'shop')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_response(chunks: Iterator[bytes], *, filename: str) -> StreamingHttpResponse:
    """Each chunk is made in a thread and on a connection of its own, so that a slow reader occupies neither."""
    return StreamingHttpResponse(
        _in_threads(chunks),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    def following() -> bytes | None:
        try:
            return next(chunks, None)
        finally:
            close_old_connections()

    while (chunk := await sync_to_async(following)()) is not None:
        yield chunk
