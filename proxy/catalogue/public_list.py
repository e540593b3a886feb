"""What is on sale, as programs read it: what a model is, takes and makes, and its prices in Toman.

    {"context_length": 128000, "max_output_tokens": 8192, "endpoints": ["chat", "responses", "messages"],
     "modalities": {"input": ["text", "image"], "output": ["text"]},
     "pricing": {"currency": "toman",
                 "per_million": {"input": 30000, "output": 180000}, "each": {"image": 4000},
                 "tiers": [{"above_tokens": 200000, "per_million": {"input": 60000, "output": 270000}}],
                 "images": [{"size": "1024x1024", "quality": "hd", "price": 8000}],
                 "valid_from": "2026-11-30T00:00:00Z",
                 "dollar_basis": {"toman_per_dollar": 100000, "rate_from": "2026-11-29T20:30:00Z",
                                  "markup_percent": 10, "dollars": {"per_million": {"input": 0.25, "output": 1.5}}}},
     "announced": []}

A component without a price of its own costs what it is a part of (`PART_OF`), or nothing. `dollar_basis` is null for a
list that was given in Toman. `announced` are price lists to come, each in the shape of `pricing`, the next first.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from proxy.catalogue.endpoints import ENDPOINTS
from proxy.catalogue.prices.dated_price import DatedPrice
from proxy.catalogue.prices.dollar_basis import MICRO_PER_DOLLAR, DollarBasis
from proxy.catalogue.prices.price_quote import PER_PIECE, PriceQuote
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TEXT
from proxy.catalogue.served import ServedModel
from wallet.money import RIAL_PER_TOMAN

Amount = Callable[[int], float]

PARTS = (TEXT, IMAGE, AUDIO, FILE)  # of messages, where the model takes them
# What goes in and comes out, by endpoint.
MODALITIES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "chat": (PARTS, TEXT),
    "responses": (PARTS, TEXT),
    "messages": (PARTS, TEXT),
    "completions": ((TEXT,), TEXT),
    "embeddings": ((TEXT,), "embedding"),
    "images": ((TEXT, IMAGE), IMAGE),
    "speech": ((TEXT,), AUDIO),
    "transcriptions": ((AUDIO,), TEXT),
    "moderations": ((TEXT, IMAGE), "moderation"),
}
KINDS = (TEXT, IMAGE, AUDIO, FILE, "embedding", "moderation")


def entry(model: ServedModel) -> dict[str, Any]:
    """A model as OpenAI's list has it, and what anybody may know of it beside."""
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        **facts(model),
    }


def facts(model: ServedModel) -> dict[str, Any]:
    """What anybody may know of a model beside its name."""
    return {
        "context_length": model.longest_prompt_tokens,
        "max_output_tokens": model.max_output_tokens,
        "endpoints": [name for name in ENDPOINTS if name in model.endpoints],
        "modalities": _modalities(model),
        "pricing": pricing(DatedPrice(model.price, model.price_valid_from, model.dollar_basis)),
        "announced": [pricing(dated) for dated in model.announced],
    }


def pricing(dated: DatedPrice) -> dict[str, Any]:
    return {
        "currency": "toman",
        **_prices(dated.price, _toman),
        "valid_from": moment(dated.valid_from),
        "dollar_basis": _basis(dated.dollar_basis),
    }


def rate(*, rial_per_dollar: int, valid_from: datetime) -> dict[str, Any]:
    return {"toman_per_dollar": _toman(rial_per_dollar), "valid_from": moment(valid_from)}


def _modalities(model: ServedModel) -> dict[str, list[str]]:
    taken: set[str] = set()
    made: set[str] = set()
    for endpoint in model.endpoints:
        inputs, output = MODALITIES[endpoint]
        made.add(output)
        taken |= {kind for kind in inputs if kind == inputs[0] or kind in model.takes}
    return {
        "input": [kind for kind in KINDS if kind in taken],
        "output": [kind for kind in KINDS if kind in made],
    }


def _basis(basis: DollarBasis | None) -> dict[str, Any] | None:
    if basis is None:
        return None
    return {
        "toman_per_dollar": _toman(basis.rial_per_dollar),
        "rate_from": moment(basis.rate_from),
        "markup_percent": _number(basis.markup_basis_points, 100),
        "dollars": _prices(basis.dollars, _dollars),
    }


def _prices(price: PriceQuote, amount: Amount) -> dict[str, Any]:
    prices: dict[str, Any] = _by_unit(price.own, amount)
    if price.tiers:
        prices["tiers"] = [
            {"above_tokens": tier.above_tokens, **_by_unit(tier.rial, amount)} for tier in price.tiers
        ]
    if price.images:
        prices["images"] = [
            {"size": image.size or None, "quality": image.quality or None, "price": amount(image.rial)}
            for image in price.images
        ]
    return prices


def _by_unit(components: Mapping[str, int], amount: Amount) -> dict[str, Any]:
    units: dict[str, dict[str, float]] = {}
    for component, price in components.items():
        unit = "each" if component in PER_PIECE else "per_million"
        units.setdefault(unit, {})[component] = amount(price)
    return units


def _toman(rial: int) -> float:
    return _number(rial, RIAL_PER_TOMAN)


def _dollars(micro: int) -> float:
    return _number(micro, MICRO_PER_DOLLAR)


def _number(count: int, divisor: int) -> float:
    """Whole where it is."""
    return count / divisor if count % divisor else count // divisor


def moment(at: datetime) -> str:
    """In UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
