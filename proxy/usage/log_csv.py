"""The request log as a CSV file: the figures of the page, exactly. Never a prompt or an answer; none is stored."""

from collections.abc import Iterator
from dataclasses import dataclass

from accounts.shared.downloads import BYTE_ORDER_MARK, csv_bytes, harmless
from accounts.shared.formats import TEHRAN, jalali_text
from proxy.usage import log as usage_log
from proxy.usage.log import Filter, LoggedRequest
from wallet.money import toman_figure

BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of a file, which is written when the page's language is no longer known."""

    header: tuple[str, ...]
    outcomes: dict[str, str]
    billed_by: dict[str, str]


def chunks(*, user_id: int, wanted: Filter, wording: Wording) -> Iterator[bytes]:
    """The filtered log, newest first, in pieces: time (ISO 8601, Tehran), Jalali day, request, key, the end of its
    secret, model, endpoint, streamed (1 or 0), tokens in, cached, out, cost in Toman and in micro-Rial, outcome, how it
    was billed, HTTP status, first byte and duration in ms, the client's own id, end user.

    Each piece is a short query of its own, so neither memory nor a transaction grows with the log.
    """
    yield BYTE_ORDER_MARK.encode() + csv_bytes([wording.header])
    cursor = None
    while True:
        page = usage_log.page(user_id=user_id, wanted=wanted, cursor=cursor, size=BATCH)
        if page.requests:
            yield csv_bytes(_cells(logged, wording) for logged in page.requests)
        if page.older is None:
            return
        cursor = page.older


def _cells(logged: LoggedRequest, wording: Wording) -> tuple[str, ...]:
    record = logged.record
    return (
        record.created_at.astimezone(TEHRAN).isoformat(timespec="milliseconds"),
        jalali_text(record.created_at),
        record.id.hex,
        harmless(logged.key.name),
        logged.key.last_four,
        harmless(record.model),
        record.endpoint,
        str(int(record.stream)),
        str(record.prompt_tokens),
        str(record.cached_tokens),
        str(record.completion_tokens),
        toman_figure(record.cost_micro),
        str(record.cost_micro),
        wording.outcomes[record.outcome],
        wording.billed_by[record.billed_by],
        str(record.status),
        "" if record.first_byte_ms is None else str(record.first_byte_ms),
        str(record.total_ms),
        harmless(record.client_request_id),
        harmless(record.end_user_hint),
    )
