"""What upstreams' usage objects mean, whose word is believed, and what of it a customer sees. Pure."""

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from proxy.catalogue.pricing import TOKENS_MAX, Usage

# Where each figure of a usage object may stand, in the order of precedence. The first names are OpenAI's own.
PROMPT = ("prompt_tokens", "input_tokens")  # the second: Anthropic's, and OpenAI's in Responses
COMPLETION = ("completion_tokens", "output_tokens")
CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),  # Responses
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
    ("cache_read_input_tokens",),  # Anthropic, and LiteLLM for it
)
CACHE_WRITES = ("cache_creation_input_tokens",)  # Anthropic: beside `input_tokens`, not among them
# What an upstream says that it charges the operator, in dollars.
PURCHASE_PRICES = (
    ("cost",),  # OpenRouter
    ("estimated_cost",),  # DeepInfra
    ("cost", "total_cost"),  # Perplexity
)
# In the name of every field that tells of it.
PURCHASE_WORDS = (
    "cost",
    "price",
    "is_byok",
    "credit",
    "charge",
    "billing",
    "billed",
    "spend",
    "_usd",
    "usd_",
    "dollar",
)
PURCHASE_DEEP = 5  # how deep it may lie: gateways put it into metadata of metadata
NANO = 10**9
DOLLARS_MAX = 9_000_000_000  # the record's column holds no more


@dataclass(frozen=True, slots=True)
class Report:
    """A usage object that can be read: its tokens, the object itself, and the operator's purchase price."""

    usage: Usage
    said: dict[str, Any]
    upstream_cost_nanodollars: int | None = None


def report_of(answer: dict[str, Any]) -> Report | None:
    """The usage of an answer or a chunk, or None where there is none that can be read."""
    for place in (answer, answer.get("x_groq")):  # the second: Groq's streams
        if isinstance(place, dict) and isinstance(said := place.get("usage"), dict):
            usage = read_usage(said)
            return None if usage is None else Report(usage, said, purchase_nanodollars(said, answer))
    return None


def read_usage(said: dict[str, Any]) -> Usage | None:
    """A usage object's tokens.

    Some upstreams leave reasoning out of the completion tokens but not out of the total (xAI, Gemini): the total
    counts. Others leave what was cached out of the prompt tokens (Anthropic's form, and translations of it).
    """
    prompt, completion = _first(said, PROMPT), _first(said, COMPLETION)
    total, cached = _tokens(said.get("total_tokens")), _cached(said)
    if prompt is None:
        return None
    if completion is None:
        if total is None or any(said.get(name) is not None for name in COMPLETION):
            return None
        completion = 0
    beside = cached + (_first(said, CACHE_WRITES) or 0)
    if said.get("prompt_tokens") is None:
        excludes_cached = any(name in said for name in (*CACHE_WRITES, "cache_read_input_tokens"))
    elif total is None:
        excludes_cached = cached > prompt
    else:
        sum_of_all = prompt + beside + completion
        excludes_cached = total == sum_of_all or (cached > prompt and total > sum_of_all)
    if excludes_cached:
        prompt += beside
    if total is not None:
        completion = max(completion, total - prompt)
    try:
        return Usage(prompt, completion, cached)
    except ValueError:
        return None


def combined(reports: list[Report]) -> Report | None:
    """One report of those that stand in the choices (Moonshot): the same prompt, and each choice's own tokens."""
    if len(reports) <= 1:
        return reports[0] if reports else None
    try:
        usage = Usage(
            max(one.usage.prompt_tokens for one in reports),
            sum(one.usage.completion_tokens for one in reports),
            max(one.usage.cached_tokens for one in reports),
        )
    except ValueError:
        return None
    return Report(usage, reports[-1].said)


def believed(report: Usage | None, estimate: Usage, *, at_least: int, final: bool) -> Usage:
    """What is billed: the report where it is an upstream's last word and can be true, to the token.

    Completion tokens below `at_least` are no report, nor is a prompt of none. A report that was not the last word,
    because somebody left or the answer went on after it, may lack what came since: then the larger counts, component
    by component.
    """
    if report is None or report.completion_tokens < at_least or not report.prompt_tokens:
        return estimate
    if final:
        return report
    return Usage(
        max(report.prompt_tokens, estimate.prompt_tokens),
        max(report.completion_tokens, estimate.completion_tokens),
        report.cached_tokens,
    )


def for_customers(said: dict[str, Any] | None, billed: Usage, cost_toman: float) -> dict[str, Any]:
    """The usage object of an answer: as upstream gave it, with the tokens that were billed and what they cost."""
    usage = {
        **without_purchase(said or {}),
        "prompt_tokens": billed.prompt_tokens,
        "completion_tokens": billed.completion_tokens,
        "total_tokens": billed.total_tokens,
    }
    details = usage.get("prompt_tokens_details")
    known = details.get("cached_tokens") if isinstance(details, dict) else 0
    if billed.cached_tokens and known != billed.cached_tokens:
        details = details if isinstance(details, dict) else {}
        usage["prompt_tokens_details"] = {**details, "cached_tokens": billed.cached_tokens}
    return {**usage, "cost_toman": cost_toman}


def without_purchase(said: dict[str, Any], deep: int = PURCHASE_DEEP) -> dict[str, Any]:
    """An object without anything about the operator's purchase price."""
    return {name: _without(value, deep) for name, value in said.items() if not tells_of_purchase(name)}


def _without(value: Any, deep: int) -> Any:
    if deep and isinstance(value, list):
        return [_without(one, deep - 1) for one in value]
    return without_purchase(value, deep - 1) if deep and isinstance(value, dict) else value


def purchase_changes(answer: dict[str, Any]) -> dict[str, Any]:
    """What to change in an answer or a chunk, so that nothing beside its choices and usage tells of it (`...`: out)."""
    changes: dict[str, Any] = {}
    for name, value in answer.items():
        if tells_of_purchase(name):
            changes[name] = ...
        elif name not in {"choices", "usage"} and (kept := _without(value, PURCHASE_DEEP)) != value:
            changes[name] = kept
    return changes


@lru_cache(maxsize=1024)
def tells_of_purchase(name: str) -> bool:
    return any(word in name.lower() for word in PURCHASE_WORDS)


def purchase_nanodollars(said: dict[str, Any], answer: dict[str, Any]) -> int | None:
    """What upstream says that this answer costs the operator."""
    for place in (said, answer):
        for path in PURCHASE_PRICES:
            dollars = _dollars(_at(place, path))
            if dollars is not None:
                if said.get("is_byok") is True:
                    # OpenRouter's fee alone; what the model's maker takes stands beside it.
                    dollars += _dollars(_at(said, ("cost_details", "upstream_inference_cost"))) or 0
                return min(int(dollars * NANO), DOLLARS_MAX * NANO)
    return None


def _dollars(value: Any) -> Decimal | None:
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= DOLLARS_MAX:
        return None
    return Decimal(str(value))


def _cached(said: dict[str, Any]) -> int:
    return next((found for path in CACHED if (found := _tokens(_at(said, path))) is not None), 0)


def _first(said: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((_tokens(said[name]) for name in names if said.get(name) is not None), None)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _tokens(value: Any) -> int | None:
    """A whole number of tokens; some upstreams write it as a float."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else None
