"""The items of a Responses request as the messages of a chat. Pure.

A chat's turn is one message, where Responses has an item for each thought, text and call: items that a model wrote in
one turn are put together, and the results of its calls follow.
"""

import base64
import binascii
import contextlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.api.responses_to_chat.notes import Notes
from proxy.api.responses_to_chat.parts import Content, is_text, read_parts, text_of
from proxy.api.responses_to_chat.tools import NULL, Tools, custom_arguments, flat_name
from proxy.catalogue.request_fields import ESCAPED_LETTERS
from proxy.errors import APIError

SYSTEM_ROLES = frozenset({"system", "developer"})  # the second is OpenAI's alone
# Calls of tools that only some models know, by what they say; their outputs end in `_output`.
OTHER_CALLS = {"local_shell_call": "action", "shell_call": "action", "apply_patch_call": "operation"}
OUTPUTS = frozenset(
    {"function_call_output", "custom_tool_call_output", *(f"{name}_output" for name in OTHER_CALLS)}
)
NOT_KEPT = (
    "Items are not kept here, so none can be referred to. Have your client send them whole: "
    "store: false, in the AI SDK providerOptions.openai.store."
)
REASONING_IDS = "rs_"
COMPACTED = "The model cannot read what another one has compacted. Send the items themselves."
MEDIA = (b'"image_url"', b'"file_id"', b'"file_url"', b'"file_data"', b'"input_audio"')
OUR_REASONING = "hamiran1:"  # begins what stands in `encrypted_content` of our own reasoning items


class Item(msgspec.Struct, gc=False):
    type: str | None = None
    id: Any = None
    role: str | None = None
    content: Any = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    input: Any = None
    output: Any = None
    action: Any = None
    operation: Any = None
    summary: Any = None
    encrypted_content: str | None = None
    tools: msgspec.Raw = NULL


_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_item = msgspec.json.Decoder(Item).decode


def sealed(reasoning: str) -> str:
    """Reasoning as stateless clients carry it back unread."""
    return OUR_REASONING + base64.b64encode(reasoning.encode("utf-8", "surrogatepass")).decode()


def unsealed(encrypted_content: str | None) -> str:
    """Empty for what others have sealed."""
    if not encrypted_content or not encrypted_content.startswith(OUR_REASONING):
        return ""
    try:
        return base64.b64decode(encrypted_content.removeprefix(OUR_REASONING), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


@dataclass(slots=True)
class Turn:
    """What a model wrote in one turn. `place`: of its first item."""

    place: str
    reasoning: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def message(self) -> dict[str, Any] | None:
        if not (self.texts or self.calls):
            return None
        message: dict[str, Any] = {"role": "assistant", "content": "\n\n".join(self.texts) or None}
        if not self.calls:
            message["content"] = message["content"] or ""
        if self.reasoning:
            message["reasoning_content"] = "\n\n".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = self.calls
        return message


@dataclass(slots=True)
class Messages:
    """`places`: for each message, the field of the client's body that it was made of. `call_ids`: all that occur.

    `unread_media`: how many images and files items may hold that are left out here, and that another way would send.
    """

    tools: Tools
    notes: Notes
    messages: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    call_ids: set[str] = field(default_factory=set)
    unread_media: int = 0
    _turn: Turn | None = None
    _media: list[dict[str, Any]] = field(default_factory=list)  # of results, for after them

    def read(self, instructions: msgspec.Raw | None, written: msgspec.Raw) -> None:
        """Raises APIError invalid_value for what is kept nowhere."""
        if instructions is not None:
            self._instruct(instructions)
        try:
            items = msgspec.json.decode(written, type=str | list[msgspec.Raw])
        except msgspec.MsgspecError:
            self.notes.malformed("input", "a text or a list of items")
            return
        if isinstance(items, str):
            self._add({"role": "user", "content": items}, "input")
            return
        for number, raw in enumerate(items):
            self._read_item(raw, f"input[{number}]")
        self._end_turn()
        self._end_results("input")

    def _instruct(self, instructions: msgspec.Raw) -> None:
        try:
            said = msgspec.json.decode(instructions, type=str | list[msgspec.Raw])
        except msgspec.MsgspecError:
            self.notes.malformed("instructions", "a text")
            return
        if isinstance(said, str):
            self._say("system", said, "instructions")
            return
        for number, raw in enumerate(said):
            self._read_item(raw, f"instructions[{number}]")
        self._end_turn()

    def _read_item(self, raw: msgspec.Raw, place: str) -> None:
        try:
            item = _read_item(raw)
        except msgspec.MsgspecError:
            self._unread(raw)
            self.notes.malformed(place, "an item")
            return
        kind = item.type or ("message" if item.role else "item_reference")
        if is_lost_thought(kind, item.id):
            self.notes.leave_out("input", "reasoning")
            return
        if kind == "item_reference":
            raise APIError("invalid_value", param=place, message=NOT_KEPT)
        if kind == "message":
            self._message(item, place)
        elif kind == "reasoning":
            self._turn_at(place).reasoning += filter(None, [reasoning_of(item)])
        elif kind in {"function_call", "custom_tool_call"} or kind in OTHER_CALLS:
            self._call(item, kind, place)
        elif kind in OUTPUTS:
            self._result(item, kind, place)
        elif kind == "additional_tools":
            self.tools.read(item.tools, param=f"{place}.tools")
        elif kind == "compaction":
            self.notes.refuse(place, COMPACTED)
        else:
            self._unread(raw)
            self.notes.leave_out("input", kind)

    def _unread(self, raw: msgspec.Raw) -> None:
        written = bytes(raw)
        if ESCAPED_LETTERS.search(written):
            with contextlib.suppress(msgspec.MsgspecError):
                written = msgspec.json.encode(msgspec.json.decode(written))
        self.unread_media += sum(written.count(name) for name in MEDIA)

    def _message(self, item: Item, place: str) -> None:
        role = "system" if item.role in SYSTEM_ROLES else item.role
        if role not in {"system", "user", "assistant"}:
            self.notes.malformed(f"{place}.role", "user, assistant, system or developer")
            role = "user"
        parts = read_parts(item.content, f"{place}.content", self.notes)
        if role != "assistant":
            self._end_turn()
            self._say(role, parts, place)
        elif text := text_of(parts, ""):
            self._turn_at(place).texts.append(text)

    def _say(self, role: str, parts: Content, place: str) -> None:
        """A text alone is always written as a text, so that an upstream's cache knows it again."""
        if role == "system" and is_text(parts):
            text = text_of(parts, "\n\n")
            if self.messages and all(each["role"] == "system" for each in self.messages):
                last = self.messages[-1]
                if isinstance(last["content"], str):
                    last["content"] += f"\n\n{text}"  # templates take one, at the beginning
                    return
            parts = text
        elif not isinstance(parts, str) and is_text(parts) and len(parts) <= 1:
            parts = text_of(parts, "")
        self._end_results(place)
        self._add({"role": role, "content": parts}, place)

    def _call(self, item: Item, kind: str, place: str) -> None:
        if kind == "custom_tool_call":
            name, arguments = item.name, custom_arguments(as_text(item.input))
        elif said := OTHER_CALLS.get(kind):
            name, arguments = kind.removesuffix("_call"), as_text(getattr(item, said))
        else:
            name, arguments = item.name, as_text(item.arguments).strip() or "{}"
        if not name:
            self.notes.malformed(f"{place}.name", "the name of a tool")
        function = {"name": flat_name(name or "", item.namespace or ""), "arguments": arguments}
        call = {"id": self._call_id(item, place), "type": "function", "function": function}
        self._turn_at(place).calls.append(call)

    def _result(self, item: Item, kind: str, place: str) -> None:
        self._end_turn()
        in_parts = isinstance(item.output, list) and kind in {
            "function_call_output",
            "custom_tool_call_output",
        }
        said = item.output if in_parts else as_text(item.output)
        parts = read_parts(said, f"{place}.output", self.notes)
        media = [] if isinstance(parts, str) else [part for part in parts if part["type"] != "text"]
        text = text_of(parts, "\n")
        if media and not text:
            text = "(in the next message)"
        self._media += media
        self._add({"role": "tool", "tool_call_id": self._call_id(item, place), "content": text}, place)

    def _call_id(self, item: Item, place: str) -> str:
        if not item.call_id:
            self.notes.malformed(f"{place}.call_id", "the id of a call")
        self.call_ids.add(item.call_id or "")
        return item.call_id or ""

    def _turn_at(self, place: str) -> Turn:
        if self._turn is None:
            self._end_results(place)
            self._turn = Turn(place)
        return self._turn

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and (message := turn.message()) is not None:
            self._add(message, turn.place)

    def _end_results(self, place: str) -> None:
        """A tool's message takes text alone: images that tools returned follow in one of the user's."""
        if self._media:
            media, self._media = self._media, []
            self._add({"role": "user", "content": media}, place)

    def _add(self, message: dict[str, Any], place: str) -> None:
        self.messages.append(message)
        self.places.append(place)


def is_lost_thought(kind: str | None, item_id: Any) -> bool:
    """Whether an item refers to one of reasoning, which a model can do without."""
    return kind == "item_reference" and isinstance(item_id, str) and item_id.startswith(REASONING_IDS)


def reasoning_of(item: Item) -> str:
    """What can be read of a reasoning item: its own text, ours as we sealed it, or its summary."""
    return _texts(item.content) or unsealed(item.encrypted_content) or _texts(item.summary)


def _texts(parts: Any) -> str:
    if not isinstance(parts, list):
        return ""
    said = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n\n".join(text for text in said if isinstance(text, str) and text)


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
