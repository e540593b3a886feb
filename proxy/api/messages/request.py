"""A Messages request, as metering sees it: for upstreams of its own protocol as it was written, else as a chat.

Its size is read from what the client wrote, whichever way it goes: a chat made of it says nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec

from proxy.api.chat_completions import request as chat_request
from proxy.api.chat_completions.answers import encode
from proxy.api.chat_completions.conversation import bound
from proxy.api.chat_completions.request import BYTES_PER_TOKEN_MIN, EMPTY_LIST, OUTPUT_LIMIT_MAX, ChatRequest
from proxy.api.fields import flag, invalid, model_of, whole_number
from proxy.api.messages import native, request_fields
from proxy.api.messages.content import Content, read_content, unmarked
from proxy.api.messages.conversation import Conversation, conversation_of
from proxy.api.messages.from_chat import ChatAsMessages, TranslatedAnswer, translated
from proxy.api.messages.native import NativeAnswer
from proxy.api.messages.native_stream import NativeStream
from proxy.api.messages.to_chat import READ, to_chat
from proxy.catalogue import tokens
from proxy.catalogue.learning import Expected, exceeded
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.request_fields import TOOLS
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.catalogue.tokens import OUTPUT_FLOOR_TOKENS, PromptSize
from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload, decode_anything
from proxy.metering.known_prefixes import WORTH_BYTES
from proxy.upstreams.protocols import CHAT, MESSAGES, UpstreamProtocol

PASSED_HEADERS = ("anthropic-beta", "anthropic-version")
BETAS = "anthropic-beta"
SESSION_HEADERS = ("x-claude-code-session-id", "x-session-id")


@dataclass(frozen=True, slots=True)
class AsChat:
    """The request for upstreams that speak only chat, and what is left out of it. `stops`: its stop sequences."""

    request: ChatRequest
    left_out: Sequence[str]
    stops: frozenset[str]


@dataclass(frozen=True, slots=True)
class NoChat:
    """Why the request cannot be told in a chat: an APIError to be raised anew where it counts, without frames."""

    code: str
    param: str | None
    message: str

    def error(self) -> APIError:
        return APIError(self.code, param=self.param, message=self.message)


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """A MeteredRequest (proxy/metering/endpoint.py). `fields` are what upstreams of this protocol get.

    `as_chat` is a NoChat where it cannot be told in a chat. `headers`: those of the client that go on.
    """

    endpoint: ClassVar = "messages"
    prompt_field: ClassVar = "messages"
    answers: ClassVar = 1
    units: ClassVar = None

    request_id: str
    fields: Fields
    model: str
    stream: bool
    output_limit: int | None
    prompt: PromptSize
    content: Content
    conversation: Conversation | None
    affinity: bytes
    headers: Mapping[str, str]
    dropped: Sequence[str]
    as_chat: AsChat | NoChat | None

    @property
    def inputs(self) -> Mapping[str, str]:
        return self.content.inputs

    @property
    def prompt_estimate(self) -> int:
        return self.prompt.estimate

    def served_by(self, model: ServedModel) -> ServedModel:
        """The model with the routes that this request can go to. Raises APIError where there are none."""
        if not isinstance(self.as_chat, NoChat):
            return model
        routes = tuple(route for route in model.routes if is_native(route))
        if not routes:
            raise self.as_chat.error()
        return replace(model, routes=routes)

    def prompt_bound(self, model: ServedModel) -> int:
        return bound(self.prompt, model)

    def default_output_limit(self, model: ServedModel) -> int:
        return model.max_output_tokens

    def cannot_fit(self, context_tokens: int) -> bool:
        """As for chat: what might fit is let through."""
        if tokens.at_least(self.content.text_bytes, 0) <= context_tokens:
            return False
        return self.content.size.at_least > context_tokens

    def protocol_for(self, route: ServedRoute) -> UpstreamProtocol:
        return MESSAGES if is_native(route) else CHAT

    def upstream_headers(self, route: ServedRoute) -> Mapping[str, str]:
        return self.headers if is_native(route) else {}

    def left_out(self, route: ServedRoute) -> Sequence[str]:
        if is_native(route):
            more: Sequence[str] = [name for name in self.fields if name in route.quirks.strip_fields]
        else:
            more = [*self._chat.left_out, *(BETAS for name in self.headers if name == BETAS)]
        return request_fields.names_for_header([*self.dropped, *more])

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        if not is_native(route):
            return self._chat.request.body_for(route, output_limit=output_limit)
        return msgspec.json.encode(self._native(route) | {"max_tokens": output_limit})

    def body_to_count(self, route: ServedRoute) -> bytes:
        """The body that asks a route's upstream how long the prompt is."""
        return msgspec.json.encode(self._native(route))

    def _native(self, route: ServedRoute) -> dict[str, Any]:
        stripped = route.quirks.strip_fields
        body: dict[str, Any] = {name: value for name, value in self.fields.items() if name not in stripped}
        return body | {"model": route.upstream_model}

    def is_reported_by(self, route: ServedRoute) -> bool:
        return True

    def read_whole(self, body: bytes, route: ServedRoute) -> NativeAnswer | TranslatedAnswer:
        if is_native(route):
            return native.whole_answer(body, model=self.model)
        chat = self._chat
        return translated(chat.request.read_whole(body, route), model=self.model, stops=chat.stops)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> NativeStream | ChatAsMessages:
        if is_native(route):
            return NativeStream(model=self.model, output_bound=output_bound, request_id=self.request_id)
        return ChatAsMessages(
            model=self.model,
            repairs=route.quirks.repairs_answers,
            output_bound=output_bound,
            stops=self._chat.stops,
            request_id=self.request_id,
        )

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return exceeded(Expected(model, self.prompt, output_limit, self.answers), usage)

    @property
    def _chat(self) -> AsChat:
        assert isinstance(self.as_chat, AsChat)  # see `served_by`
        return self.as_chat


def is_native(route: ServedRoute) -> bool:
    return MESSAGES.name in route.protocols


def required_model(payload: Payload) -> str:
    model = model_of(payload)
    messages = bytes(payload.fields.get("messages", b""))
    if not messages.startswith(b"[") or EMPTY_LIST.match(messages):
        raise APIError("messages_required", param="messages")
    return model


def read_request(
    payload: Payload,
    *,
    model: ServedModel,
    headers: Mapping[str, str],
    request_id: str,
    is_counted_only: bool = False,
) -> MessagesRequest:
    """`headers`: those of the client, of PASSED_HEADERS and SESSION_HEADERS. `is_counted_only`: there is no answer.

    Raises APIError invalid_messages, invalid_value, input_not_supported.
    """
    fields, dropped = request_fields.for_upstreams(payload.fields)
    asked = _asked(fields)
    content = read_content(asked["messages"], asked.get("system"))
    tools_bytes = 0
    if tools := asked.get("tools"):
        content.inputs.setdefault(TOOLS, "tools")
        tools_bytes = len(payload.compacted(bytes(fields["tools"])))
    text_bytes = payload.text_bytes - content.media_bytes
    size = PromptSize(
        text_bytes=text_bytes,
        tools_bytes=tools_bytes,
        media_parts=content.media_parts,
        expansion_bytes=payload.expansion_bytes
        + (request_fields.taught_tokens(fields["tools"]) if tools else 0),
    )
    is_known_again = content.is_fixed and text_bytes >= WORTH_BYTES
    return MessagesRequest(
        request_id=request_id,
        fields=fields,
        model=model.model_id,
        stream=flag(fields, "stream"),
        output_limit=None if is_counted_only else _output_limit(fields, text_bytes, model),
        prompt=size,
        content=content,
        conversation=conversation_of(fields, asked["messages"], payload.compacted)
        if is_known_again
        else None,
        affinity=_affinity(asked["messages"], headers) if len(model.routes) > 1 else b"",
        headers={name: headers[name] for name in PASSED_HEADERS if name in headers},
        dropped=dropped,
        as_chat=None if all(map(is_native, model.routes)) else _as_chat(asked),
    )


def _asked(fields: Fields) -> dict[str, Any]:
    """The fields that are read, decoded; of others that they are there."""
    asked = {name: True for name, value in fields.items() if bytes(value) != b"null"}
    return asked | {name: _decoded(fields, name) for name in READ & fields.keys()}


def _as_chat(asked: dict[str, Any]) -> AsChat | NoChat:
    try:
        chat, left_out = to_chat(asked)
        fields = {name: msgspec.Raw(encode(value)) for name, value in chat.items()}
        payload = Payload(fields, text_bytes=0, expansion_bytes=0, compacted=bytes)
        request = chat_request.read_request(payload, model=asked["model"])
    except APIError as error:
        return NoChat(error.code or "invalid_value", error.param, error.message)
    return AsChat(request, left_out, frozenset(chat.get("stop", ())))


def _output_limit(fields: Fields, text_bytes: int, model: ServedModel) -> int:
    """No higher than what the model can make behind its prompt: agents ask for the most that any model could, and
    engines refuse what would not fit into the context."""
    asked = whole_number(fields, "max_tokens", OUTPUT_LIMIT_MAX)
    if asked is None:
        raise invalid("max_tokens", f"there, and a whole number from 1 to {OUTPUT_LIMIT_MAX}")
    room = model.longest_prompt_tokens - text_bytes // BYTES_PER_TOKEN_MIN
    return min(asked, model.max_output_tokens, max(room, OUTPUT_FLOOR_TOKENS))


def _affinity(messages: list[Any], headers: Mapping[str, str]) -> bytes:
    """The client's session, else what a conversation begins with: its messages up to the first of a user."""
    if session := next((headers[name] for name in SESSION_HEADERS if headers.get(name)), ""):
        return session.encode()
    first = next((number for number, one in enumerate(messages) if one["role"] == "user"), 0)
    return encode([unmarked(one) for one in messages[: first + 1]])


def _decoded(fields: Fields, name: str) -> Any:
    try:
        return decode_anything(fields.get(name, b"null"))
    except msgspec.MsgspecError:
        raise APIError("invalid_json", param=name) from None
