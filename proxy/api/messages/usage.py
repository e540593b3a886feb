"""Usage as the Messages API tells it: what came from or went to a cache stands beside the input tokens. Pure."""

from collections.abc import Mapping
from typing import Any

from proxy.metering import purchase
from proxy.metering.bill import Bill

NOTHING = {"input_tokens": 0, "output_tokens": 0}


def for_customers(bill: Bill, said: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The usage object of an answer: the tokens that were billed, what they cost, and what else upstream `said`."""
    billed = bill.usage
    from_cache, to_cache = billed.cached_tokens, billed.cache_write_tokens
    usage = purchase.without(dict(said or {}))
    usage |= {
        "input_tokens": max(billed.prompt_tokens - from_cache - to_cache, 0),
        "cache_creation_input_tokens": to_cache,
        "cache_read_input_tokens": from_cache,
        "output_tokens": billed.completion_tokens,
    }
    if to_cache or "cache_creation" in usage:
        usage["cache_creation"] = {
            "ephemeral_5m_input_tokens": billed.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": billed.cache_write_1h_tokens,
        }
    if billed.reasoning_tokens or "output_tokens_details" in usage:
        usage["output_tokens_details"] = {"thinking_tokens": billed.reasoning_tokens}
    return {**usage, "cost_toman": bill.cost_toman, "cost_details": bill.cost_details()}
