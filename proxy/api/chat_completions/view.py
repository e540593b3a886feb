"""POST /v1/chat/completions."""

from proxy.api.chat_completions.request import ChatRequest, read_request, required_model
from proxy.api.metered_view import MeteredView
from proxy.api.responses_to_chat.body import as_chat_payload, is_shaped_so
from proxy.http.parsing import Payload


class ChatCompletions(MeteredView):
    endpoint = "chat"

    def parse(self, body: bytes) -> Payload:
        """Cursor posts bodies of the Responses API here, and reads a chat's answers."""
        payload: Payload = super().parse(body)
        return as_chat_payload(payload) if is_shaped_so(payload.fields) else payload

    def required_model(self, payload: Payload) -> str:
        return required_model(payload)

    def read_request(self, payload: Payload, *, model: str) -> ChatRequest:
        return read_request(payload, model=model)
