"""A Responses request as the body of a chat request. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from proxy.api.responses_to_chat.items import Messages
from proxy.api.responses_to_chat.notes import Notes
from proxy.api.responses_to_chat.tools import NULL, Called, Tools
from proxy.catalogue.request_fields import LIMIT_FIELDS
from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload, read_payload

LIMIT = "max_output_tokens"
# What means the same in a chat, or is its own.
SAME = frozenset(
    {
        "model", "stream", "stream_options", "temperature", "top_p", "user", "safety_identifier", "prompt_cache_key",
        "prompt_cache_retention", "verbosity", "reasoning_effort", "response_format", "top_k", "min_p", "seed", "stop",
        "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "chat_template_kwargs",
        *LIMIT_FIELDS,
    }
)  # fmt: skip
TRANSLATED = frozenset(
    {"input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", LIMIT}
)
# Fields without which the answer is the same, by the values for which that is so. Metadata goes back to the client;
# OpenAI's chat refuses it with what is not stored.
WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "store": (False,),
    "background": (False,),
    "truncation": ("disabled",),
    "service_tier": ("auto", "default"),
    "include": ([], ["reasoning.encrypted_content"]),
}
SILENT = frozenset({"metadata"})
# What is kept nowhere here, so that it cannot be gone on with.
STATEFUL = {
    "previous_response_id": "Responses are not kept here. Send the whole conversation as input.",
    "conversation": "Conversations are not kept here. Send the whole conversation as input.",
    "prompt": "Prompts are not kept here. Send the prompt itself as instructions and input.",
}


@dataclass(frozen=True, slots=True)
class ChatBody:
    """`fields` of a chat request; `places`: for each message, which field of the client's it was made of.

    `called`: the client's tools by the names that they have in the chat. `call_ids`: those in the conversation.
    `problem`: see Notes; `unread_media`: see Messages.
    """

    fields: Fields
    places: list[str]
    called: dict[str, Called]
    call_ids: set[str]
    left_out: tuple[str, ...]
    problem: tuple[str, str] | None
    unread_media: int

    def check(self) -> None:
        """Raises APIError invalid_value where no chat can stand for the request."""
        if self.problem is not None:
            param, message = self.problem
            raise APIError("invalid_value", param=param, message=message)

    def payload(self, original: Payload) -> Payload:
        """Never smaller than the client's: what a chat leaves out, another upstream may read. Raises APIError."""
        chat = read_payload(msgspec.json.encode(self.fields))
        return replace(
            chat,
            text_bytes=max(chat.text_bytes, original.text_bytes),
            expansion_bytes=max(chat.expansion_bytes, original.expansion_bytes),
        )

    def named(self, param: str | None) -> str | None:
        """A chat's field as the client knows it."""
        start, _bracket, rest = (param or "").partition("messages[")
        number, closing, within = rest.partition("]")
        if start or not closing or not number.isdecimal() or int(number) >= len(self.places):
            return {"messages": "input", "response_format": "text.format"}.get(param or "", param)
        return self.places[int(number)] + within


def is_shaped_so(fields: Fields) -> bool:
    """Whether a body that came to another address is a Responses request, as Cursor sends them."""
    return "input" in fields and is_null(fields.get("messages"))


def is_null(raw: msgspec.Raw | None) -> bool:
    return raw is None or raw == NULL


def decoded(raw: msgspec.Raw | None) -> Any:
    """None for what no value here could be: a number that no float holds, half a surrogate."""
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return None


def refuse_state(fields: Fields) -> None:
    """Raises APIError invalid_value for a request that rests on what was kept."""
    for name, why in STATEFUL.items():
        if not is_null(fields.get(name)):
            raise APIError("invalid_value", param=name, message=why)


def as_chat(fields: Fields) -> ChatBody:
    """Raises APIError invalid_value for what is kept nowhere."""
    refuse_state(fields)
    fields = {name: raw for name, raw in fields.items() if not is_null(raw)}
    notes = Notes()
    for name, raw in fields.items():
        if name not in SAME and name not in TRANSLATED and name not in SILENT and _has_effect(name, raw):
            notes.leave_out(name)
    tools = Tools(notes)
    tools.read(fields.get("tools"))
    messages = Messages(tools, notes)
    messages.read(fields.get("instructions"), fields.get("input", NULL))
    tools.choose(fields.get("tool_choice"))
    chat: dict[str, Any] = {name: raw for name, raw in fields.items() if name in SAME}
    chat["messages"] = messages.messages
    if tools.functions:
        chat["tools"] = list(tools.functions.values())
        if tools.choice is not None:
            chat["tool_choice"] = tools.choice
        if "parallel_tool_calls" in fields:
            chat["parallel_tool_calls"] = fields["parallel_tool_calls"]
    if LIMIT in fields:
        free = next((name for name in LIMIT_FIELDS if name not in chat), LIMIT)
        chat[free] = fields[LIMIT]
    chat |= _text(fields.get("text"), notes) | _reasoning(fields.get("reasoning"), notes)
    return ChatBody(
        fields=_as_fields(chat),
        places=messages.places,
        called=tools.called,
        call_ids=messages.call_ids,
        left_out=notes.left_out,
        problem=notes.problem,
        unread_media=messages.unread_media,
    )


def as_chat_payload(payload: Payload) -> Payload:
    """A Responses body that was posted to a chat, as that chat's. Raises APIError."""
    body = as_chat(payload.fields)
    body.check()
    return body.payload(payload)


def _has_effect(name: str, raw: msgspec.Raw) -> bool:
    return name not in WITHOUT_EFFECT or decoded(raw) not in WITHOUT_EFFECT[name]


def _text(raw: msgspec.Raw | None, notes: Notes) -> dict[str, Any]:
    """A form for the answer, and how long it shall be."""
    text = _object(raw, "text", notes)
    found: dict[str, Any] = {}
    for name, value in text.items():
        if name == "verbosity":
            found[name] = value
        elif name == "format":
            found |= _format(value, notes)
        else:
            notes.leave_out("text", name)
    return found


def _format(raw: msgspec.Raw, notes: Notes) -> dict[str, Any]:
    said = _object(raw, "text.format", notes)
    kind = decoded(said.pop("type", NULL))
    if kind is None or kind == "text":
        return {}
    if kind != "json_schema":
        return {"response_format": {"type": kind, **said}}
    if "json_schema" in said:  # chat's own form
        return {"response_format": {"type": kind, **said}}
    return {"response_format": {"type": kind, "json_schema": said}}


def _reasoning(raw: msgspec.Raw | None, notes: Notes) -> dict[str, Any]:
    """`summary` says how what the model thinks is sent back, whoever serves it."""
    found = {}
    for name, value in _object(raw, "reasoning", notes).items():
        if name == "effort":
            found["reasoning_effort"] = value
        elif name not in {"summary", "generate_summary"}:
            notes.leave_out("reasoning", name)
    return found


def _object(raw: msgspec.Raw | None, param: str, notes: Notes) -> dict[str, msgspec.Raw]:
    """Without what is null."""
    try:
        said = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]) if raw is not None else {}
    except msgspec.MsgspecError:
        notes.malformed(param, "an object")
        return {}
    return {name: value for name, value in said.items() if not is_null(value)}


def _as_fields(chat: dict[str, Any]) -> Fields:
    return {
        name: value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))
        for name, value in chat.items()
    }
