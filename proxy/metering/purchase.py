"""What upstreams say of the operator's purchase price: kept with the record, left out for customers. Pure."""

import math
from decimal import Decimal
from functools import lru_cache
from typing import Any

from proxy.metering import usage_forms
from proxy.metering.usage_forms import Path

# In the name of every field that tells of it.
WORDS = (
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
DEEP = 5  # how deep it may lie: gateways put it into metadata of metadata
CONTAINERS = (dict, list)
PRICE_NAMES = frozenset(name for name, *_within in usage_forms.PRICES)
NANO = 10**9
DOLLARS_MAX = 9_000_000_000  # the record's column holds no more


def without(said: dict[str, Any], deep: int = DEEP) -> dict[str, Any]:
    """An object without anything about the operator's purchase price."""
    return {name: _without(value, deep) for name, value in said.items() if not tells_of_it(name)}


def _without(value: Any, deep: int) -> Any:
    if deep and isinstance(value, list):
        return [_without(one, deep - 1) for one in value]
    return without(value, deep - 1) if deep and isinstance(value, dict) else value


def changes(answer: dict[str, Any]) -> dict[str, Any]:
    """What to change in an answer or a chunk, so that nothing beside its choices and usage tells of it (`...`: out)."""
    found: dict[str, Any] = {}
    for name, value in answer.items():
        if tells_of_it(name):
            found[name] = ...
        elif (
            isinstance(value, CONTAINERS)
            and name not in {"choices", "usage"}
            and (kept := _without(value, DEEP)) != value
        ):
            found[name] = kept
    return found


@lru_cache(maxsize=1024)
def tells_of_it(name: str) -> bool:
    return any(word in name.lower() for word in WORDS)


def nanodollars(said: dict[str, Any], answer: dict[str, Any]) -> int | None:
    """What upstream says that this answer costs the operator."""
    for place in (said, answer):
        if PRICE_NAMES.isdisjoint(place):
            continue
        for path in usage_forms.PRICES:
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


def _at(value: Any, path: Path) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
