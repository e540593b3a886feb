"""A Responses request: sized and bounded as the chat that it amounts to, sent as it is or as that chat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec

from proxy.api.chat_completions.request import OUTPUT_LIMIT_MAX, ChatRequest
from proxy.api.chat_completions.request import read_request as read_chat_request
from proxy.api.responses.conversation import InputItems, beginning, has_media
from proxy.api.responses.native_body import NativeBody, is_disguised, native_body
from proxy.api.responses.native_stream import NativeStream
from proxy.api.responses.native_whole import native_answer
from proxy.api.responses.translated import TranslatedStream, translated_answer
from proxy.api.responses.writer import Asked, Writer
from proxy.api.responses_to_chat.body import LIMIT, ChatBody, as_chat, decoded, is_null
from proxy.api.responses_to_chat.tools import NULL
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.request_fields import LEFT_OUT
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload
from proxy.metering.endpoint import StreamedAnswer, WholeAnswer
from proxy.metering.known_prefixes import WORTH_BYTES
from proxy.upstreams.protocols import CHAT, RESPONSES, UpstreamProtocol

NEEDED = frozenset({"model", "input", "stream", "store", LIMIT})
SEALED = "reasoning.encrypted_content"
# What a response repeats of its request, and what it says where the request did not. Instructions and tools are left
# out: an agent's are forty kilobytes, and it reads neither.
ECHOED = (
    "max_output_tokens", "max_tool_calls", "metadata", "prompt_cache_key", "reasoning", "safety_identifier",
    "temperature", "text", "top_p", "user",
)  # fmt: skip
DEFAULTS = {
    "parallel_tool_calls": msgspec.Raw(b"true"),
    "tool_choice": msgspec.Raw(b'"auto"'),
    "truncation": msgspec.Raw(b'"disabled"'),
}


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A MeteredRequest (proxy/metering/endpoint.py). `fields` are the client's, `items` its input.

    `chat` is the chat that it amounts to, and what it is sized by; `as_chat` how it became that.
    """

    endpoint: ClassVar = "responses"
    prompt_field: ClassVar = "input"
    answers: ClassVar = 1
    units: ClassVar = None

    fields: Fields
    items: list[msgspec.Raw]
    chat: ChatRequest
    as_chat: ChatBody
    native: NativeBody
    inputs: Mapping[str, str]
    conversation: InputItems | None

    @property
    def model(self) -> str:
        return self.chat.model

    @property
    def stream(self) -> bool:
        return self.chat.stream

    @property
    def output_limit(self) -> int | None:
        return self.chat.output_limit

    @property
    def prompt_estimate(self) -> int:
        return self.chat.prompt_estimate

    @property
    def affinity(self) -> bytes:
        return bytes(self.fields.get("prompt_cache_key", b"")) or beginning(self.items)

    def served_by(self, model: ServedModel) -> ServedModel:
        """The model with the routes that this request can go to. Raises APIError invalid_value where there are none."""
        if self.as_chat.problem is None:
            return model
        routes = tuple(filter(_is_native, model.routes))
        if not routes:
            self.as_chat.check()
        return replace(model, routes=routes)

    def prompt_bound(self, model: ServedModel) -> int:
        return self.chat.prompt_bound(model)

    def cannot_fit(self, context_tokens: int) -> bool:
        return self.chat.cannot_fit(context_tokens)

    def default_output_limit(self, model: ServedModel) -> int:
        return self.chat.default_output_limit(model)

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return self.chat.exceeded(usage, model=model, output_limit=output_limit)

    def is_reported_by(self, route: ServedRoute) -> bool:
        return True

    def protocol_for(self, route: ServedRoute) -> UpstreamProtocol:
        return RESPONSES if _is_native(route) else CHAT

    def upstream_headers(self, route: ServedRoute) -> Mapping[str, str]:
        return {}

    def left_out(self, route: ServedRoute) -> Sequence[str]:
        return self.native.left_out if _is_native(route) else self.as_chat.left_out

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        """Raises APIError invalid_value for what this upstream cannot be sent."""
        if not _is_native(route):
            self.as_chat.check()
            return self.chat.body_for(route, output_limit=output_limit)
        stripped = route.quirks.strip_fields - LEFT_OUT - NEEDED
        body: dict[str, Any] = {
            name: value for name, value in self.native.fields.items() if name not in stripped
        }
        return msgspec.json.encode({**body, "model": route.upstream_model, LIMIT: output_limit})

    def read_whole(self, body: bytes, route: ServedRoute) -> WholeAnswer:
        if _is_native(route):
            return native_answer(body, model=self.model)
        return translated_answer(self.chat.read_whole(body, route), self._writer())

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> StreamedAnswer:
        if _is_native(route):
            return NativeStream(self._writer(), model=self.model, output_bound=output_bound)
        repairs = route.quirks.repairs_answers
        return TranslatedStream(self._writer(), model=self.model, repairs=repairs, output_bound=output_bound)

    def _writer(self) -> Writer:
        fields = self.fields
        echo = {name: fields.get(name, NULL) for name in ECHOED}
        for name, default in DEFAULTS.items():
            given = fields.get(name)
            echo[name] = default if given is None or is_null(given) else given
        return Writer(
            Asked(
                model=self.model,
                echo=echo,
                called=self.as_chat.called,
                call_ids=frozenset(self.as_chat.call_ids),
                as_summary=_wants_summary(fields.get("reasoning")),
                seals=SEALED.encode() in bytes(fields.get("include", b"")),
            )
        )


def required_model(payload: Payload) -> str:
    """Raises APIError model_required, invalid_value."""
    model = decoded(payload.fields.get("model"))
    if not isinstance(model, str) or not model.strip():
        raise APIError("model_required", param="model")
    if bytes(payload.compacted(bytes(payload.fields.get("input", NULL)))) in {b"null", b'""', b"[]"}:
        raise APIError(
            "invalid_value",
            param="input",
            message='The "input" field is required and must be a text or a list of items.',
        )
    return model


def read_request(payload: Payload, *, model: str) -> ResponsesRequest:
    """Checks what is left to check once the model is known. Raises APIError invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not is_disguised(name)}
    _check_limit(fields.get(LIMIT))
    items = _items(fields["input"])
    body = as_chat(fields)
    try:
        chat = read_chat_request(body.payload(payload), model=model)
    except APIError as error:
        error.param = body.named(error.param)
        raise
    tools_bytes = len(payload.compacted(bytes(fields.get("tools", NULL))))
    prompt = chat.prompt
    chat.prompt = replace(
        prompt,
        tools_bytes=max(prompt.tools_bytes, tools_bytes),
        media_parts=prompt.media_parts + body.unread_media,
    )
    is_known_again = prompt.text_bytes >= WORTH_BYTES and not has_media(bytes(fields["input"]))
    return ResponsesRequest(
        fields=fields,
        items=items,
        chat=chat,
        as_chat=body,
        native=native_body(fields),
        inputs={kind: body.named(param) or param for kind, param in chat.inputs.items()},
        conversation=InputItems(fields, items, payload.compacted) if is_known_again else None,
    )


def _is_native(route: ServedRoute) -> bool:
    return RESPONSES.name in route.protocols


def _items(written: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(written, type=list[msgspec.Raw])
    except msgspec.MsgspecError:
        return [written]


def _wants_summary(reasoning: msgspec.Raw | None) -> bool:
    said = decoded(reasoning)
    summary = said.get("summary") if isinstance(said, dict) else None
    return summary is not None and summary != "none"


def _check_limit(written: msgspec.Raw | None) -> None:
    if written is None or is_null(written):
        return
    limit = decoded(written)
    if type(limit) not in (int, float) or limit != int(limit) or not 1 <= limit <= OUTPUT_LIMIT_MAX:
        message = f'The "{LIMIT}" field must be a whole number from 1 to {OUTPUT_LIMIT_MAX}.'
        raise APIError("invalid_value", param=LIMIT, message=message)
