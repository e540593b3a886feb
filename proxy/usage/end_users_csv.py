"""What end users used, as a CSV file: the figures of the page, exactly, for as many as any account has."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from accounts.shared.downloads import BYTE_ORDER_MARK, csv_bytes, harmless
from proxy.usage import by_end_user
from proxy.usage.by_end_user import EndUserShare
from wallet.money import toman_figure

BATCH = 2_000
MOST = 100_000  # the dearest


def chunks(asked: dict[str, Any], *, header: Sequence[str]) -> Iterator[bytes]:
    """`asked`: see `by_end_user.shares`. Dearest first: name, requests, errors, tokens in, cached, out, cost in Toman
    and in micro-Rial."""
    yield BYTE_ORDER_MARK.encode() + csv_bytes([header])
    shares = by_end_user.shares(**asked, size=MOST)
    while batch := list(islice(shares, BATCH)):
        yield csv_bytes(map(_cells, batch))


def _cells(share: EndUserShare) -> tuple[str, ...]:
    figures = share.figures
    return (
        harmless(share.hint),
        str(figures.requests),
        str(figures.errors),
        str(figures.prompt_tokens),
        str(figures.cached_tokens),
        str(figures.completion_tokens),
        toman_figure(figures.cost_micro),
        str(figures.cost_micro),
    )
