"""Usage as Responses writes it: what was billed, under its names. Pure."""

from collections.abc import Mapping
from typing import Any

from proxy.metering import purchase
from proxy.metering.bill import Bill


def for_customers(said: Mapping[str, Any] | None, bill: Bill) -> dict[str, Any]:
    """The usage object of a response: as an upstream gave it under these names, None where it did under others, with
    the tokens that were billed and what they cost."""
    billed = bill.usage
    usage: dict[str, Any] = {
        **purchase.without(dict(said or {})),
        "input_tokens": billed.prompt_tokens,
        "output_tokens": billed.completion_tokens,
        "total_tokens": billed.total_tokens,
    }
    inputs = {"cached_tokens": billed.cached_tokens, "cache_write_tokens": billed.cache_write_tokens}
    outputs = {"reasoning_tokens": billed.reasoning_tokens}
    for name, figures in (("input_tokens_details", inputs), ("output_tokens_details", outputs)):
        given = usage.get(name)
        details = given if isinstance(given, dict) else {}
        missing = {part: count for part, count in figures.items() if (details.get(part) or 0) != count}
        # SDKs take both for granted; an object that is there stays as it is where it is right.
        usage[name] = {**details, **missing} if details else figures
    return {**usage, "cost_toman": bill.cost_toman, "cost_details": bill.cost_details()}
