"""GET /public/prices/history.json: every dated price list of each model on sale, those to come among them."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Window
from django.db.models.functions import Lead

from proxy import runtime
from proxy.api import fields
from proxy.api.public.kept import Document, Kept, from_database
from proxy.api.public.view import PublicView
from proxy.catalogue import public_list, served
from proxy.catalogue.prices.models import Price
from proxy.errors import APIError
from proxy.http.request import APIRequest

PAGE = 200
PAGES_MAX = 1_000
MADE_ANEW_SECONDS = 60.0
PATH = "/public/prices/history.json"

Name = tuple[str | None, int]  # a model, or all, and the number of a page


class PublicPriceHistory(PublicView):
    async def document(self, request: APIRequest) -> Document:
        model_id = request.query.get("model")
        if model_id is not None and runtime.current().catalogue.get(model_id) is None:
            raise APIError("model_not_found", param="model")
        return await _kept.get(
            (model_id, fields.number_in_query(request.query, "page", maximum=PAGES_MAX, default=1))
        )


async def _page(name: Name) -> dict[str, Any]:
    model_id, number = name
    on_sale = [model_id] if model_id else [model.model_id for model in runtime.current().catalogue.all()]
    found = await from_database(lambda: _lists(on_sale, number))
    query = {"model": model_id} if model_id else {}
    has_more = len(found) > PAGE
    return {
        "object": "list",
        "data": found[:PAGE],
        "page": number,
        "has_more": has_more,
        "next": f"{settings.BASE_URL}{PATH}?{urlencode({**query, 'page': number + 1})}" if has_more else None,
    }


def _lists(model_ids: list[str], number: int) -> list[dict[str, Any]]:
    """A page of price lists from the newest down, and one more where there is any."""
    lists = (
        Price.objects.filter(model__model_id__in=model_ids)
        .annotate(valid_until=Window(Lead("valid_from"), partition_by="model", order_by="valid_from"))
        .select_related("model")
        .order_by("-valid_from", "model__model_id")
    )
    first = (number - 1) * PAGE
    return [_told(price) for price in lists[first : first + PAGE + 1]]


def _told(price: Any) -> dict[str, Any]:
    """A price, and until when it holds (None: until further notice)."""
    return {
        "model": price.model.model_id,
        "valid_until": price.valid_until and public_list.moment(price.valid_until),
        "pricing": public_list.pricing(served.dated(price)),
    }


_kept: Kept[Name] = Kept(_page, seconds=MADE_ANEW_SECONDS)
