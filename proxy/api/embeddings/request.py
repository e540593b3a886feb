"""What is read of a request for embeddings: only the fields that route, bound or bill it. The rest passes unread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from proxy.api import passed_on, text_input
from proxy.api.embeddings.answer import EmbeddingsAnswer, read_answer
from proxy.api.passed_on import PassedOn
from proxy.api.text_input import TextInput
from proxy.catalogue.learning import Expected, exceeded
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.request_fields import CHATS, LIMIT_FIELDS, is_disguised
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.http.parsing import Fields, Payload
from proxy.metering.endpoint import StreamedAnswer
from proxy.upstreams.protocols import EMBEDDINGS

# Of other endpoints: vLLM would take the messages in the place of the input, and what is streamed is no one answer.
NOT_OURS = frozenset({"prompt", "stream", "stream_options", "n", *CHATS, *LIMIT_FIELDS})


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest(PassedOn):
    """A MeteredRequest (proxy/metering/endpoint.py) that is billed by its input alone. `fields` are the client's."""

    endpoint: ClassVar = "embeddings"
    protocol: ClassVar = EMBEDDINGS
    prompt_field: ClassVar = "input"
    stream: ClassVar = False
    answers: ClassVar = 1
    output_limit: ClassVar = 0
    inputs: ClassVar[Mapping[str, str]] = {}
    units: ClassVar = None

    fields: Fields
    model: str
    input: TextInput

    @property
    def prompt_estimate(self) -> int:
        return self.input.estimate

    def prompt_bound(self, model: ServedModel) -> int:
        return self.input.bound(model)

    def cannot_fit(self, context_tokens: int) -> bool:
        return self.input.cannot_fit(context_tokens)

    def default_output_limit(self, model: ServedModel) -> int:
        return 0

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        return msgspec.json.encode(passed_on.body(self.fields, route, without=NOT_OURS))

    def read_whole(self, body: bytes, route: ServedRoute) -> EmbeddingsAnswer:
        return read_answer(body, model=self.model, inputs=self.input.count)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        raise NotImplementedError

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return exceeded(Expected(model, self.input.size, 0, 1, prompts=self.input.count), usage)


def read_request(payload: Payload, *, model: str) -> EmbeddingsRequest:
    """Raises APIError invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not is_disguised(name)}
    return EmbeddingsRequest(fields, model, text_input.read(payload, "input"))
