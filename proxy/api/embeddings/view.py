"""POST /v1/embeddings."""

from proxy.api import fields
from proxy.api.embeddings.request import EmbeddingsRequest, read_request
from proxy.api.metered_view import MeteredView
from proxy.http.parsing import Payload


class Embeddings(MeteredView):
    endpoint = "embeddings"

    def required_model(self, payload: Payload) -> str:
        return fields.model_of(payload)

    def read_request(self, payload: Payload, *, model: str) -> EmbeddingsRequest:
        return read_request(payload, model=model)
