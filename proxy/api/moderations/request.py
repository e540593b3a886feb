"""What is read of a request for moderation: what it is about. The rest passes unread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from proxy.api import fields as body_fields
from proxy.api import passed_on
from proxy.api.chat_completions.messages import Part
from proxy.api.moderations.answer import ModerationsAnswer, read_answer
from proxy.api.passed_on import PassedOn
from proxy.api.text_input import INPUTS_MAX
from proxy.catalogue import tokens
from proxy.catalogue.prices.pricing import NO_UNITS, Usage
from proxy.catalogue.request_fields import CHATS, INPUTS, TEXT, is_disguised
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload
from proxy.metering.endpoint import StreamedAnswer
from proxy.upstreams.protocols import MODERATIONS

WANTED = "a text, a list of texts or a list of parts (text, image_url)"
NOT_OURS = frozenset({"prompt", "stream", "stream_options", "n", *CHATS})

_read_input = msgspec.json.Decoder(str | list[str | Part]).decode


@dataclass(frozen=True, slots=True)
class ModerationsRequest(PassedOn):
    """A MeteredRequest (proxy/metering/endpoint.py) that is billed by the request, not by tokens.

    `fields` are the client's; `longest_bytes`: of any of its texts, in UTF-8.
    """

    endpoint: ClassVar = "moderations"
    protocol: ClassVar = MODERATIONS
    prompt_field: ClassVar = "input"
    stream: ClassVar = False
    answers: ClassVar = 1
    output_limit: ClassVar = 0
    prompt_estimate: ClassVar = 0
    units: ClassVar = NO_UNITS  # the request itself

    fields: Fields
    model: str
    inputs: Mapping[str, str]
    longest_bytes: int

    def prompt_bound(self, model: ServedModel) -> int:
        return 0

    def cannot_fit(self, context_tokens: int) -> bool:
        return tokens.at_least(self.longest_bytes, 0) > context_tokens

    def default_output_limit(self, model: ServedModel) -> int:
        return 0

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        return msgspec.json.encode(passed_on.body(self.fields, route, without=NOT_OURS))

    def read_whole(self, body: bytes, route: ServedRoute) -> ModerationsAnswer:
        return read_answer(body, model=self.model)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        raise NotImplementedError

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return {}


def read_request(payload: Payload, *, model: str) -> ModerationsRequest:
    """Raises APIError invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not is_disguised(name)}
    try:
        said = _read_input(payload.fields.get("input", msgspec.Raw(b"null")))
    except msgspec.MsgspecError:
        raise body_fields.invalid("input", WANTED) from None
    every = [said] if isinstance(said, str) else said
    if not every:
        raise body_fields.invalid("input", WANTED)
    if len(every) > INPUTS_MAX:
        raise APIError(
            "invalid_value",
            param="input",
            message=f'The "input" field can hold at most {INPUTS_MAX:,} inputs, not {len(every):,}.',
        )
    inputs: dict[str, str] = {}
    for place, one in enumerate(every):
        kind = None if isinstance(one, str) else _kind(one)
        if kind is not None:
            inputs.setdefault(kind, f"input[{place}]")
    return ModerationsRequest(fields, model, inputs, max(map(_text_bytes, every)))


def _kind(part: Part) -> str | None:
    """What of a part a model may not take; None for text."""
    kind = part.medium or INPUTS.get(part.type)
    return None if kind == TEXT else kind


def _text_bytes(one: str | Part) -> int:
    text = one if isinstance(one, str) else one.text
    return len(text.encode()) if isinstance(text, str) else 0
