"""What of a price list is stored as JSON beside the three columns, in one shape. Pure: no Django.

    {"components": {"reasoning": 900000, "request": 50},
     "tiers": [{"above_tokens": 200000, "components": {"input": 600000, "output": 2700000}}],
     "images": [{"size": "1024x1024", "quality": "hd", "rial": 40000}]}

Each part is left out where it is empty, and None stands for all of them.
"""

from typing import Any, TypeVar

from proxy.catalogue.prices.price_quote import PLAIN, ImagePrice, PriceQuote, Tier

Kind = TypeVar("Kind")


def further_of(price: PriceQuote) -> dict[str, Any] | None:
    """What the three columns do not hold."""
    return _parts(price, dict(price.further)) or None


def document(price: PriceQuote) -> dict[str, Any]:
    """A list that has no columns: `components` are all of them."""
    return _parts(price, dict(price.own))


def read_document(value: Any) -> PriceQuote:
    """Raises ValueError on what has another shape."""
    parts = _object(value, "components", "tiers", "images")
    input_rial, output_rial, cached_input_rial, further = _split(_components(parts.get("components", {})))
    return read(input_rial, output_rial, cached_input_rial, {**parts, "components": further})


def _parts(price: PriceQuote, components: dict[str, int]) -> dict[str, Any]:
    parts = {
        "components": components,
        "tiers": [{"above_tokens": tier.above_tokens, "components": dict(tier.rial)} for tier in price.tiers],
        "images": [
            {
                **({"size": image.size} if image.size else {}),
                **({"quality": image.quality} if image.quality else {}),
                "rial": image.rial,
            }
            for image in price.images
        ],
    }
    return {name: part for name, part in parts.items() if part}


def columns(price: PriceQuote) -> dict[str, Any]:
    """A price list as the columns of its row."""
    return {
        "input_rial_per_million": price.input_rial_per_million,
        "output_rial_per_million": price.output_rial_per_million,
        "cached_input_rial_per_million": price.own.get("cached_input"),
        "further": further_of(price),
    }


def read(input_rial: int, output_rial: int, cached_input_rial: int | None, further: Any) -> PriceQuote:
    """The price list of a row. Raises ValueError on what has another shape."""
    parts = _object(further or {}, "components", "tiers", "images")
    return PriceQuote(
        input_rial,
        output_rial,
        cached_input_rial,  # type: ignore[arg-type]  # filled by the list
        further=_components(parts.get("components", {})),
        tiers=tuple(
            Tier(tier.get("above_tokens", 0), _components(tier.get("components", {})))
            for tier in (_object(each, "above_tokens", "components") for each in _list(parts, "tiers"))
        ),
        images=tuple(
            ImagePrice(image.get("rial", -1), _text(image.get("size", "")), _text(image.get("quality", "")))
            for image in (_object(each, "size", "quality", "rial") for each in _list(parts, "images"))
        ),
    )


def of_components(own: dict[str, int], tiers: dict[int, dict[str, int]], **images: Any) -> PriceQuote:
    """A price list of all its components alike. Raises ValueError where there is no price of input."""
    input_rial, output_rial, cached_input_rial, further = _split(own)
    return PriceQuote(
        input_rial,
        output_rial,
        cached_input_rial,  # type: ignore[arg-type]  # filled by the list
        further=further,
        tiers=tuple(Tier(above, tiers[above]) for above in sorted(tiers)),
        **images,
    )


def _split(own: dict[str, int]) -> tuple[int, int, int | None, dict[str, int]]:
    """Input, output, cached input and the others. Raises ValueError where there is no price of input."""
    if "input" not in own:
        raise ValueError("A price list needs a price of input.")
    further = {name: rial for name, rial in own.items() if name not in PLAIN}
    return own["input"], own.get("output", 0), own.get("cached_input"), further


def _object(value: Any, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= set(names):
        raise ValueError(f"A part of a price list must be an object of {', '.join(names)}, not {value!r}.")
    return value


def _list(parts: dict[str, Any], name: str) -> list[Any]:
    return _of(list, parts.get(name, []), f"The {name} of a price list")


def _components(value: Any) -> dict[str, int]:
    return _of(dict, value, "What a price list has by component")


def _text(value: Any) -> str:
    return _of(str, value, "The size or quality in a price list")


def _of(kind: type[Kind], value: Any, what: str) -> Kind:
    if isinstance(value, kind):
        return value
    raise ValueError(f"{what} cannot be {value!r}.")
