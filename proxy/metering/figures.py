"""What settled calls add to the figures of /metrics, by model and endpoint.

They are added up in a plain map for a second first: the library's own counters lock, and map files, for each addition.
"""

import asyncio
from collections import Counter as Sums
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Histogram

BY = ["model", "endpoint"]
# Answers take from a tenth of a second to an hour; each bound is about twice the one before.
SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 900, 3600)
TELL_SECONDS = 1.0

CALLS = Counter("hamiran_calls", "Metered calls that reached the ledger, by how they ended", [*BY, "outcome"])
TOTAL_SECONDS = Histogram(
    "hamiran_call_seconds", "Answers that came whole, to their end", BY, buckets=SECONDS
)
FIRST_SECONDS = Histogram("hamiran_first_byte_seconds", "Streams, to their first event", BY, buckets=SECONDS)
TOKENS = Counter("hamiran_tokens", "Tokens that were billed", [*BY, "kind"])
COST = Counter("hamiran_cost_micro", "What customers paid, micro-Rial", BY)
UPSTREAM_COST = Counter("hamiran_upstream_cost_micro", "What upstreams charge for it, micro-Rial", BY)

_sums: Sums[tuple[Counter, tuple[str, ...]]] = Sums()
_child = lru_cache(maxsize=10_000)(lambda metric, labels: metric.labels(*labels))


def count(record: Mapping[str, Any], *, cost_micro: int) -> None:
    """Counts a usage record that has been settled at this cost. Inside an event loop."""
    if not _sums:
        asyncio.get_running_loop().call_later(TELL_SECONDS, tell)
    at = (record["model"], record["endpoint"])
    _sums[CALLS, (*at, record["outcome"])] += 1
    if record["outcome"] == "completed":
        _child(TOTAL_SECONDS, at).observe(record["total_ms"] / 1000)
        if record["stream"] and record["first_byte_ms"] is not None:
            _child(FIRST_SECONDS, at).observe(record["first_byte_ms"] / 1000)
    if record["billed_by"] == "nothing":
        return
    cached = record["cached_tokens"]
    _sums[TOKENS, (*at, "input")] += record["prompt_tokens"] - cached
    _sums[TOKENS, (*at, "cached_input")] += cached
    _sums[TOKENS, (*at, "output")] += record["completion_tokens"]
    _sums[COST, at] += cost_micro
    _sums[UPSTREAM_COST, at] += record.get("upstream_cost_micro") or 0


def tell() -> None:
    """Adds what was counted since the last time."""
    for (metric, labels), value in _sums.items():
        _child(metric, labels).inc(value)
    _sums.clear()
