"""What is on sale, as pages show it: models with what a million of their tokens cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from accounts.shared.formats import is_persian
from proxy.catalogue.served import ServedModel
from wallet.money import micro_from_rial


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
            context_tokens=model.context_tokens,
            max_output_tokens=model.max_output_tokens,
        )
        for model in served
    ]
