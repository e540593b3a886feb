"""POST /v1/chat/completions."""

from proxy.api.chat_completions.request import ChatRequest, read_request, required_model
from proxy.api.metered_view import MeteredView
from proxy.http.parsing import Payload


class ChatCompletions(MeteredView):
    endpoint = "chat"

    def required_model(self, payload: Payload) -> str:
        return required_model(payload)

    def read_request(self, payload: Payload, *, model: str) -> ChatRequest:
        return read_request(payload, model=model)
