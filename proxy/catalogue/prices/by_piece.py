"""By what a price list charges a request: by its tokens, or by its pieces: images, characters, seconds, pages. Pure.

A request of pieces is billed by the tokens that its upstream reports, where the list has prices of these. Else by its
pieces, where the list has a price of them: an estimate of tokens is never billed then. Else by tokens as any other
request, reported or estimated, so that nothing is free for want of a report.
"""

from dataclasses import dataclass, replace

from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import CHARGED_AS, NO_UNITS, Units, Usage

NO_TOKENS = Usage(0, 0)
COUNTED = ("characters", "images", "audio_seconds", "pages")


@dataclass(frozen=True, slots=True)
class Used:
    """What a request used. `asked`: the pieces that it was held for; None where nothing but tokens is billed.

    `made`: the pieces that the answer shows, where it does. Where `asked` has none, the request itself is the piece.
    """

    tokens: Usage
    is_reported: bool = True
    asked: Units | None = None
    made: Units | None = None

    def charged_by(self, price: PriceQuote) -> tuple[Usage, Units]:
        """The tokens and the pieces that such a list charges: no more pieces than were held for."""
        if self.asked is None:
            return self.tokens, NO_UNITS
        units = self._units(self.asked)
        has_price = any(map(price.has_price_of, _components(units)))
        if has_price and not (self.is_reported and _has_prices_of_tokens(price, self.tokens)):
            return NO_TOKENS, _of_a_priced_kind(units, price, self.asked)
        return self.tokens, NO_UNITS if has_price else units

    def _units(self, asked: Units) -> Units:
        made = self.made
        if made is None:
            return asked
        return replace(
            made,
            **{name: min(getattr(made, name), getattr(asked, name)) for name in COUNTED},
            image_size=asked.image_size or made.image_size,
            image_quality=asked.image_quality or made.image_quality,
        )


def can_charge(price: PriceQuote, units: Units) -> bool:
    """Whether the list knows what every kind of image that may come of it costs, if it prices images at all."""
    kinds = price.image_kinds(units.image_size, units.image_quality)
    return (
        not price.images or "image" in price.own or any(price.image_rial(*kind) is not None for kind in kinds)
    )


def _components(units: Units) -> list[str]:
    return [CHARGED_AS[name] for name in COUNTED if getattr(units, name)] or ["request"]


def _has_prices_of_tokens(price: PriceQuote, usage: Usage) -> bool:
    rates = price.rates_for(usage.prompt_tokens)
    return bool(
        usage.total_tokens
        and (rates.dearest_input or not usage.prompt_tokens)
        and (rates.dearest_output or not usage.completion_tokens)
    )


def _of_a_priced_kind(units: Units, price: PriceQuote, asked: Units) -> Units:
    """Images of a kind that the list does not know, and has no general price for, are the dearest asked for."""
    kind = (units.image_size, units.image_quality)
    if not units.images or "image" in price.own or price.image_rial(*kind) is not None:
        return units
    kinds = price.image_kinds(asked.image_size, asked.image_quality)
    size, quality = max(kinds, key=lambda kind: (price.image_rial(*kind) or 0, kind))
    return replace(units, image_size=size, image_quality=quality)
