"""What is read of a chat completion's body: only the fields that route, bound or bill it. The rest passes unread.

A body is cut into its top-level fields, which stay the JSON that the client wrote: what is not read here reaches the
upstream as it was written, numbers of any size included.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from proxy.api import fields as body_fields
from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.chat_completions.answers import ChatAnswer, whole_answer
from proxy.api.chat_completions.conversation import Conversation, bound
from proxy.api.chat_completions.messages import beginning, read_messages
from proxy.api.fields import whole_number
from proxy.catalogue import tokens
from proxy.catalogue.learning import Expected, exceeded
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.request_fields import LIMIT_FIELDS, TOOLS, client_tools, is_disguised
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.catalogue.tokens import OUTPUT_FLOOR_TOKENS, PromptSize, TextSize
from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload, decode_anything
from proxy.metering.known_prefixes import WORTH_BYTES
from proxy.upstreams.protocols import CHAT, UpstreamProtocol

N_MAX = 128
OUTPUT_LIMIT_MAX = 2**31 - 1
# Of nearly every text; what is denser has to say its own cap near the end of a context.
BYTES_PER_TOKEN_MIN = 3

EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*\]")
TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")
NO_TOOLS = frozenset({b"null", b"[]"})


@dataclass(slots=True)
class ChatRequest:
    """A MeteredRequest (proxy/metering/endpoint.py). `fields` are the client's, `answers` its `n`.

    `content_bytes`: UTF-8 that messages say in text, all of which a model reads. `conversation`: its messages, where
    they are long enough to be remembered, and make the same prompt whenever they are sent.
    """

    endpoint: ClassVar = "chat"
    prompt_field: ClassVar = "messages"
    units: ClassVar = None

    fields: Fields
    model: str
    stream: bool
    include_usage: bool
    answers: int
    output_limit: int | None
    prompt: PromptSize
    inputs: dict[str, str]
    content_bytes: int
    conversation: Conversation | None

    @property
    def prompt_estimate(self) -> int:
        return self.prompt.estimate

    @property
    def affinity(self) -> bytes:
        return bytes(self.fields.get("prompt_cache_key", b"")) or beginning(self.fields["messages"])

    def protocol_for(self, route: ServedRoute) -> UpstreamProtocol:
        return CHAT

    def upstream_headers(self, route: ServedRoute) -> Mapping[str, str]:
        return {}

    def left_out(self, route: ServedRoute) -> Sequence[str]:
        return ()

    def prompt_bound(self, model: ServedModel) -> int:
        return bound(self.prompt, model)

    def default_output_limit(self, model: ServedModel) -> int:
        """Leaves room for the prompt: engines refuse a cap that would not fit into the context behind it."""
        room = model.longest_prompt_tokens - self.prompt.text_bytes // BYTES_PER_TOKEN_MIN
        return min(model.max_output_tokens, max(room, OUTPUT_FLOOR_TOKENS))

    def is_reported_by(self, route: ServedRoute) -> bool:
        return self.answers == 1 or not route.quirks.reports_one_choice

    def read_whole(self, body: bytes, route: ServedRoute) -> ChatAnswer:
        return whole_answer(body, model=self.model, repairs=route.quirks.repairs_answers)

    def read_stream(self, route: ServedRoute, *, output_bound: int) -> AnswerStream:
        return AnswerStream(
            include_usage=self.include_usage,
            model=self.model,
            choices=self.answers,
            repairs=route.quirks.repairs_answers,
            output_bound=output_bound,
        )

    def exceeded(self, usage: Usage, *, model: ServedModel, output_limit: int) -> dict[str, int]:
        return exceeded(Expected(model, self.prompt, output_limit, self.answers), usage)

    def cannot_fit(self, context_tokens: int) -> bool:
        """Whether what the messages say is longer than the context in any tokenizer; what might fit is let through."""
        if tokens.at_least(self.content_bytes, 0) <= context_tokens:
            return False
        size = TextSize()
        read_messages(self.fields["messages"], bytes, size)
        return size.at_least > context_tokens

    def body_for(self, route: ServedRoute, *, output_limit: int) -> bytes:
        """The body for an upstream: the model's name there, the cap by the name that it obeys, usage asked for in
        streams, and nothing that it does not take or that nobody has bounded."""
        rules = route.quirks
        sent = rules.sent_on(self.fields)
        body: dict[str, Any] = {name: value for name, value in sent.items() if name not in LIMIT_FIELDS}
        body["model"] = route.upstream_model
        for name in rules.limit_fields:
            body[name] = output_limit
        if self.stream:
            options = body_fields.options(self.fields, "stream_options")
            body["stream_options"] = {**options, "include_usage": True}
        return msgspec.json.encode(body)


def required_model(payload: Payload) -> str:
    model = body_fields.model_of(payload)
    messages = bytes(payload.fields.get("messages", b""))
    if not messages.startswith(b"[") or EMPTY_LIST.match(messages):
        raise APIError("messages_required", param="messages")
    return model


def read_request(payload: Payload, *, model: str) -> ChatRequest:
    """Checks what is left to check once the model is known. Raises APIError invalid_messages, invalid_value."""
    fields = {name: value for name, value in payload.fields.items() if not is_disguised(name)}
    content = read_messages(fields["messages"], payload.compacted)
    stream = body_fields.flag(fields, "stream")
    options = body_fields.options(fields, "stream_options")
    limits = [
        limit for name in LIMIT_FIELDS if (limit := whole_number(fields, name, OUTPUT_LIMIT_MAX)) is not None
    ]
    tools_bytes = 0
    for name in ("tools", "functions"):
        if (tools := fields.get(name)) is not None and bytes(tools) not in NO_TOOLS:
            content.inputs.setdefault(TOOLS, name)
            tools_bytes += len(payload.compacted(bytes(tools)))
    if "tools" in fields and (kept := client_tools(fields["tools"])) is not fields["tools"]:
        # Without any tool left, what speaks of tools would be refused.
        without = TOOL_FIELDS if bytes(kept) in NO_TOOLS else ()
        fields = {name: value for name, value in {**fields, "tools": kept}.items() if name not in without}
    is_known_again = content.is_fixed and payload.text_bytes - content.media_bytes >= WORTH_BYTES
    return ChatRequest(
        fields=fields,
        model=model,
        stream=stream,
        include_usage=bool(body_fields.read(options, "include_usage", decode_anything, "a boolean")),
        answers=whole_number(fields, "n", N_MAX) or 1,
        output_limit=min(limits) if limits else None,  # both caps are kept by keeping the lower one
        prompt=PromptSize(
            text_bytes=payload.text_bytes - content.media_bytes,
            tools_bytes=tools_bytes,
            media_parts=content.media_parts,
            expansion_bytes=payload.expansion_bytes,
        ),
        inputs=content.inputs,
        content_bytes=content.text_bytes,
        conversation=Conversation(fields, content.messages, payload.compacted) if is_known_again else None,
    )
