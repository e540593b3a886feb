"""What is on sale, as pages show it: models with what a million of their tokens cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from accounts.shared.formats import is_persian
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.price_entry import dollars_text
from proxy.catalogue.prices.price_quote import PLAIN, Place, PriceQuote
from proxy.catalogue.prices.price_wording import component_text, image_text
from proxy.catalogue.served import ServedModel
from wallet.money import micro_from_rial


@dataclass(frozen=True, slots=True)
class FurtherPrices:
    """Prices beside the three usual ones, or those of prompts above so many tokens: names and micro-Rial."""

    above_tokens: int
    prices: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class DollarText:
    """What a list in dollars is made of: US dollars per million tokens, the mark-up, and the rate."""

    input: str
    output: str
    markup_basis_points: int
    rial_per_dollar: int
    rate_from: datetime


@dataclass(frozen=True, slots=True)
class PricedModel:
    """`…_micro` are micro-Rial for a million tokens."""

    model_id: str
    owned_by: str
    created: int
    description: str
    input_micro: int
    cached_input_micro: int
    output_micro: int
    further: list[FurtherPrices]
    dollars: DollarText | None
    context_tokens: int
    max_output_tokens: int


def price_list(served: Iterable[ServedModel], *, language: str | None) -> list[PricedModel]:
    """Descriptions are in the page's language where the operator wrote one, else in the other."""
    return [
        PricedModel(
            model_id=model.model_id,
            owned_by=model.owned_by,
            created=model.created,
            description=(model.description_fa or model.description)
            if is_persian(language)
            else (model.description or model.description_fa),
            input_micro=micro_from_rial(model.price.input_rial_per_million),
            cached_input_micro=micro_from_rial(model.price.cached_input_rial_per_million),
            output_micro=micro_from_rial(model.price.output_rial_per_million),
            further=_further(model.price),
            dollars=_dollars(model.dollar_basis),
            context_tokens=model.context_tokens,
            max_output_tokens=model.max_output_tokens,
        )
        for model in served
    ]


def _further(price: PriceQuote) -> list[FurtherPrices]:
    groups: dict[int, list[tuple[str, int]]] = {}
    for place, rial in price.prices.items():
        if place.above_tokens or place.component not in PLAIN:
            groups.setdefault(place.above_tokens, []).append((_text(place), micro_from_rial(rial)))
    return [FurtherPrices(above, groups[above]) for above in sorted(groups)]


def _text(place: Place) -> str:
    return image_text(place) if place.size or place.quality else component_text(place.component)


def _dollars(basis: DollarBasis | None) -> DollarText | None:
    if basis is None:
        return None
    return DollarText(
        input=dollars_text(basis.dollars.input_rial_per_million),
        output=dollars_text(basis.dollars.output_rial_per_million),
        markup_basis_points=basis.markup_basis_points,
        rial_per_dollar=basis.rial_per_dollar,
        rate_from=basis.rate_from,
    )
