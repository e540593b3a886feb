"""What a usage record keeps beyond its three numbers of tokens, so that its cost can be computed anew. Pure: no Django.

By component (proxy.catalogue.prices.price_quote):

    {"reasoning": 120, "image": 2, "image_size": "1024x1024", "request": 1}
"""

from collections.abc import Mapping
from typing import Any

from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import CHARGED_AS, NO_UNITS, Units, Usage

TOKENS = {name: component for name, component in CHARGED_AS.items() if name.endswith("_tokens")}
UNITS = {name: component for name, component in CHARGED_AS.items() if name not in TOKENS}
IMAGE_KIND = ("image_size", "image_quality")
FURTHER_TOKENS = {name: component for name, component in TOKENS.items() if name != "cached_tokens"}


def further(usage: Usage, rial: Mapping[str, int], units: Units = NO_UNITS) -> dict[str, Any] | None:
    """What is kept of a request that was charged at these prices; None where three numbers say all of it."""
    found: dict[str, Any] = {
        component: tokens for name, component in FURTHER_TOKENS.items() if (tokens := getattr(usage, name))
    }
    if units is not NO_UNITS:
        kept = {**UNITS, **{name: name for name in IMAGE_KIND}}
        found |= {component: value for name, component in kept.items() if (value := getattr(units, name))}
    if rial["request"]:
        found["request"] = 1
    return found or None


def columns(
    usage: Usage, price: PriceQuote, *, price_list_id: int | None, is_billed: bool, units: Units = NO_UNITS
) -> dict[str, Any]:
    """The columns of a record that say how it was priced; `quantities` only where there are any."""
    rial = price.rates_for(usage.prompt_tokens).rial
    found: dict[str, Any] = {
        "input_rial_per_million": rial["input"],
        "output_rial_per_million": rial["output"],
        "cached_input_rial_per_million": rial["cached_input"],
        "price_list_id": price_list_id,
    }
    if is_billed and (kept := further(usage, rial, units)):
        found["quantities"] = kept
    return found


def read(
    *, prompt_tokens: int, cached_tokens: int, completion_tokens: int, further: Mapping[str, Any] | None
) -> tuple[Usage, Units]:
    """What a record was charged for. Raises ValueError where that cannot be."""
    said = further or {}
    tokens = {name: said.get(component, 0) for name, component in FURTHER_TOKENS.items()}
    usage = Usage(prompt_tokens, completion_tokens, cached_tokens, **tokens)
    if any(getattr(usage, name) != tokens[name] for name in tokens):
        raise ValueError("The parts are more than the whole.")
    units = {name: said.get(component, 0) for name, component in UNITS.items()}
    return usage, Units(**units, **{name: said.get(name, "") for name in IMAGE_KIND})
