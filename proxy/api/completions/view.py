"""POST /v1/completions, the legacy one."""

from proxy.api import fields
from proxy.api.completions.request import CompletionRequest, read_request
from proxy.api.metered_view import MeteredView
from proxy.http.parsing import Payload


class Completions(MeteredView):
    endpoint = "completions"

    def required_model(self, payload: Payload) -> str:
        return fields.model_of(payload)

    def read_request(self, payload: Payload, *, model: str) -> CompletionRequest:
        return read_request(payload, model=model)
