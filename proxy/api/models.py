"""GET /v1/models: what a key may use, in OpenAI's shape, or in Anthropic's for its clients."""

from datetime import UTC, datetime
from typing import Any, cast

from keys.lookup import KeyIdentity
from proxy import runtime
from proxy.api import fields
from proxy.api.messages import errors
from proxy.catalogue import public_list
from proxy.catalogue.served import ServedModel
from proxy.errors import APIError
from proxy.http.request import APIRequest
from proxy.http.responses import JSON, Reply, json_response
from proxy.http.views import AsyncAPIView
from proxy.limits import bounds
from proxy.metering.admission import find_model, on_sale

PAGE, PAGE_MAX = 20, 1_000


class _OfModels(AsyncAPIView):
    def error_reply(self, error: APIError) -> Reply:
        request = cast(APIRequest, self.request)
        if not _is_anthropics(request):
            return super().error_reply(error)
        body = errors.encoded(error, request_id=request.id_text)
        return Reply(body, status=errors.status_of(error), content_type=JSON, headers=errors.headers(error))


class Models(_OfModels):
    """GET /v1/models: what the key may use."""

    async def get(self, request: APIRequest) -> Reply:
        key = request.key
        models = [model for model in on_sale(runtime.current()).all() if key.may_use(model.model_id)]
        if _is_anthropics(request):
            return json_response(_page(models, request.query))
        return json_response({"object": "list", "data": [_openais(model, key) for model in models]})

    head = get


class Model(_OfModels):
    """GET /v1/models/{id}; an id can contain slashes."""

    async def get(self, request: APIRequest, model_id: str) -> Reply:
        key = request.key
        model = find_model(runtime.current(), model_id, key=key)
        return json_response(_anthropics(model) if _is_anthropics(request) else _openais(model, key))

    head = get


def _is_anthropics(request: APIRequest) -> bool:
    return bool(request.header(b"anthropic-version"))


def _openais(model: ServedModel, key: KeyIdentity) -> dict[str, Any]:
    return {
        **public_list.entry(model),
        "limits": bounds.named(bounds.for_model(key, model.model_id)),
    }


def _anthropics(model: ServedModel) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.model_id,
        "display_name": model.model_id,
        "description": model.description,
        "created_at": datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": model.longest_prompt_tokens,
        "max_tokens": model.max_output_tokens,
    }


def _page(models: list[ServedModel], query: dict[str, str]) -> dict[str, Any]:
    """A page of them, from the beginning, behind `after_id` or before `before_id`. Raises APIError invalid_value."""
    limit = fields.number_in_query(query, "limit", maximum=PAGE_MAX, default=PAGE)
    ids = [model.model_id for model in models]
    if "after_id" in query and "before_id" in query:
        raise fields.invalid("before_id", "absent where after_id is given")
    if "before_id" in query:
        end = _place(ids, query, "before_id")
        start = max(end - limit, 0)
        has_more = start > 0
    else:
        start = _place(ids, query, "after_id") + 1 if "after_id" in query else 0
        end = start + limit
        has_more = end < len(models)
    page = [_anthropics(model) for model in models[start:end]]
    return {
        "data": page,
        "has_more": has_more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def _place(ids: list[str], query: dict[str, str], name: str) -> int:
    if query[name] not in ids:
        raise fields.invalid(name, "the id of one of these models")
    return ids.index(query[name])
