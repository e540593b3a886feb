"""GET /v1/models: what a key may use."""

from proxy import runtime
from proxy.catalogue.served import ServedModel
from proxy.http.request import APIRequest
from proxy.http.responses import Reply, json_response
from proxy.http.views import AsyncAPIView
from proxy.metering.admission import find_model, on_sale


class Models(AsyncAPIView):
    """GET /v1/models: what the key may use."""

    async def get(self, request: APIRequest) -> Reply:
        key = request.key
        models = [model for model in on_sale(runtime.current()).all() if key.may_use(model.model_id)]
        return json_response({"object": "list", "data": [_model(model) for model in models]})

    head = get


class Model(AsyncAPIView):
    """GET /v1/models/{id}; an id can contain slashes."""

    async def get(self, request: APIRequest, model_id: str) -> Reply:
        model = find_model(runtime.current(), model_id, key=request.key)
        return json_response(_model(model))

    head = get


def _model(model: ServedModel) -> dict[str, object]:
    return {"id": model.model_id, "object": "model", "created": model.created, "owned_by": model.owned_by}
