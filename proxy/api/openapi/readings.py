"""What the document says of the GETs beside the models: the account by key, and what needs none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from proxy.api.openapi.components import ref


@dataclass(frozen=True, slots=True)
class Reading:
    """A GET. `target`: its view; `answered`: a component; `refused_by`: codes beside those of every operation."""

    target: str
    operation_id: str
    summary: str
    description: str
    tag: str
    answered: str
    parameters: Sequence[OpenApiParameter] = ()
    refused_by: Sequence[str] = ()
    needs_key: bool = True

    @property
    def name(self) -> str:
        return self.target.rpartition(".")[2]

    def schema(self, parameters: list[OpenApiParameter], refusals: Mapping[Any, OpenApiResponse]) -> Any:
        return extend_schema(
            operation_id=self.operation_id,
            summary=self.summary,
            description=self.description,
            tags=[self.tag],
            parameters=[*parameters, *self.parameters],
            responses={
                200: OpenApiResponse(ref(self.answered), description=f"{self.summary}: the answer."),
                **refusals,
            },
        )


def query(name: str, description: str, kind: type = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description)


READINGS = (
    Reading(
        "proxy.api.public.models.PublicModels",
        "listPublicModels",
        "List the models, prices and limits of each tier",
        "Needs no key, may be read by any web page, and changes within a minute.",
        "Public",
        "PublicModelList",
        needs_key=False,
    ),
    Reading(
        "proxy.api.public.price_history.PublicPriceHistory",
        "listPublicPrices",
        "List every price list of the models on sale",
        "From the newest down, those to come among them, 200 on a page. Needs no key, and changes within two minutes.",
        "Public",
        "PublicPriceList",
        parameters=(
            query("model", "Of this model alone."),
            query("page", "From 1 on.", int),
        ),
        refused_by=("invalid_value", "model_not_found"),
        needs_key=False,
    ),
)
