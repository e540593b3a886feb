"""What the document says of what is only read: the account by key, and what needs none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiRequest, OpenApiResponse, extend_schema

from proxy.api.openapi.components import ref


@dataclass(frozen=True, slots=True)
class Reading:
    """A GET, or a POST with a body `asked`. `target`: its view; `answered`: a component.

    `refused_by`: codes beside those of every operation.
    """

    target: str
    operation_id: str
    summary: str
    description: str
    tag: str
    answered: str
    parameters: Sequence[OpenApiParameter] = ()
    refused_by: Sequence[str] = ()
    needs_key: bool = True
    asked: str = ""

    @property
    def method(self) -> str:
        return "post" if self.asked else "get"

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
            request={"application/json": OpenApiRequest(ref(self.asked))} if self.asked else None,
            responses={
                200: OpenApiResponse(ref(self.answered), description=f"{self.summary}: the answer."),
                **refusals,
            },
        )


def query(name: str, description: str, kind: type = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description)


OF_BODIES = (
    "invalid_json",
    "invalid_value",
    "request_too_large",
    "request_timeout",
    "unsupported_encoding",
)
SCOPE = "insufficient_scope"  # of admin keys
READINGS = (
    Reading(
        "proxy.api.account.key.CurrentKey",
        "getKey",
        "What the key may do, and what is left of it",
        "Name and hint, limits and what is left of each, cap, expiry, models and networks of the key that asks.",
        "Account",
        "Key",
    ),
    Reading(
        "proxy.api.account.balance.Balance",
        "getBalance",
        "The balance",
        "Exact at this moment, on a frozen wallet too.",
        "Account",
        "Balance",
        refused_by=(SCOPE,),
    ),
    Reading(
        "proxy.api.account.requests.Request",
        "getRequest",
        "What one request used and cost",
        "Final the moment its last byte has arrived. Any key of the account finds all of its requests, by the id in "
        "`x-request-id`; ids inside answers are often the upstream's own.",
        "Account",
        "Request",
        parameters=(
            OpenApiParameter("request_id", str, OpenApiParameter.PATH, description="With or without dashes."),
        ),
        refused_by=(SCOPE, "request_not_found"),
    ),
    Reading(
        "proxy.api.account.requests.Lookup",
        "lookUpRequests",
        "What many requests used and cost",
        "Up to 1,000 ids at once, told in their order; those that the account does not have are named. By what a "
        "client said in `X-Client-Request-Id` too: the newest ten of each, once they have ended.",
        "Account",
        "RequestList",
        asked="RequestLookup",
        refused_by=(SCOPE, *OF_BODIES),
    ),
    Reading(
        "proxy.api.account.usage.Usage",
        "listUsage",
        "Usage by groups",
        "Sums of some days of Tehran, in the order of their groups, with what was used a moment ago. Errors are "
        "requests that failed, were refused or interrupted.",
        "Account",
        "UsageList",
        parameters=(
            query("from", "The first day, as 2026-11-30 or 1405-09-09; 29 days before the last without it."),
            query("to", "The last day, today without it. At most 366 days, 31 by hour."),
            query(
                "group_by",
                "Some of day, hour, key, model, endpoint, user, with commas; not user and hour at once.",
            ),
            query("limit", "1 to 1,000; 100 without it.", int),
            query("after", "The `next_after` of the page before."),
        ),
        refused_by=(SCOPE, "invalid_value"),
    ),
    Reading(
        "proxy.api.account.transactions.Transactions",
        "listTransactions",
        "The statement",
        "Every line of the statement with the balance after it. With `order=asc` and the last `next_after` it "
        "tells what has come since; nothing is skipped.",
        "Account",
        "TransactionList",
        parameters=(
            query("after", "The id of the transaction behind which to begin."),
            query("limit", "1 to 1,000; 50 without it.", int),
            query("order", "`desc`, the newest first, or `asc`."),
        ),
        refused_by=(SCOPE, "invalid_value"),
    ),
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
    Reading(
        "proxy.api.public.status.PublicStatus",
        "getPublicStatus",
        "How well each model has answered",
        "In the last hour, 24 hours and 30 days, as the calls of all customers saw it. Needs no key, and changes "
        "within two minutes.",
        "Public",
        "Status",
        needs_key=False,
    ),
)
