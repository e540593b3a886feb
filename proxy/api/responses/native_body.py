"""What an upstream that speaks Responses is sent: the body as it was written, but for what may not pass. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.api.responses_to_chat.body import LIMIT, STATEFUL, decoded, is_null
from proxy.api.responses_to_chat.items import is_lost_thought
from proxy.api.responses_to_chat.notes import Notes
from proxy.api.responses_to_chat.tools import NULL
from proxy.catalogue.request_fields import (
    LEFT_OUT,
    LIMIT_FIELDS,
    READ,
    UNUSUAL_LETTERS,
    without_disguised,
)
from proxy.http.parsing import Fields

STORE = "store"
NOT_STORED = msgspec.Raw(b"false")
# Beside what no upstream gets (proxy.catalogue.request_fields): other names of the cap and of what is asked, and what
# makes more than is asked for.
NOT_SENT = (LEFT_OUT - {LIMIT}) | {
    "n",
    "messages",
    "context_management",
    "background_options",
    *STATEFUL,
    *LIMIT_FIELDS,
}
_KNOWN = NOT_SENT | READ | {"input", "instructions", "include", STORE, LIMIT}
_FOLDED = frozenset(name.casefold() for name in _KNOWN)
TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")
# Tools that the client carries out. Others run upstream, and have prices of their own.
CLIENTS = frozenset({"function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview"})
IN_NAMESPACES = frozenset({"function", "custom"})


class Tool(msgspec.Struct, gc=False):
    type: str | None = None
    name: Any = None
    execution: Any = None
    environment: Any = None
    tools: msgspec.Raw = NULL


class Item(msgspec.Struct, gc=False):
    type: str | None = None
    id: Any = None
    content: msgspec.Raw = NULL
    encrypted_content: msgspec.Raw = NULL
    tools: msgspec.Raw = NULL


# That say what an item does, and who carries out a tool.
ITEM_MEMBERS = ("type", "tools")
TOOL_MEMBERS = ("type", "tools", "execution", "environment")
LOOKED_INTO = (b'"reasoning"', b'"item_reference"', b'"additional_tools"')

_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_tool = msgspec.json.Decoder(Tool).decode
_read_item = msgspec.json.Decoder(Item).decode
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_disguised(name: str) -> bool:
    """Whether a field's name is one of these in other letters: some servers read it all the same."""
    return name not in _KNOWN and name.casefold() in _FOLDED


@dataclass(frozen=True, slots=True)
class NativeBody:
    """`fields`: what is sent, each as it was written."""

    fields: Fields
    left_out: tuple[str, ...]


def native_body(fields: Fields) -> NativeBody:
    notes, kept = Notes(), dict(fields)
    for name in fields:
        if name in NOT_SENT:
            del kept[name]
            if name not in LIMIT_FIELDS and not is_null(fields[name]):
                notes.leave_out(name)
    if "tools" in kept:
        tools = kept["tools"] = clients_tools(kept["tools"], notes)
        if bytes(tools) == b"[]":  # without any, what speaks of them would be refused
            kept = {name: value for name, value in kept.items() if name not in TOOL_FIELDS}
        elif tools is not fields["tools"]:
            _keep_choice(kept)
    if "input" in kept:
        kept["input"] = _sendable(kept["input"], notes)
    # What is kept upstream would be kept in the operator's account, for nobody.
    kept[STORE] = NOT_STORED
    return NativeBody(kept, notes.left_out)


def clients_tools(tools: msgspec.Raw, notes: Notes) -> msgspec.Raw:
    """`tools` without those that an upstream would run; as it came where there are none, or where it is no list."""
    return _filtered(tools, lambda tool: _clients_tool(tool, notes))


def _filtered(values: msgspec.Raw, keep: Callable[[msgspec.Raw], msgspec.Raw | None]) -> msgspec.Raw:
    """A list with what `keep` makes of each of its values."""
    try:
        every = _read_list(values)
    except msgspec.MsgspecError:
        return values  # malformed: upstream says so
    kept = [keep(value) for value in every]
    if all(one is value for one, value in zip(kept, every, strict=True)):
        return values
    return msgspec.Raw(msgspec.json.encode([value for value in kept if value is not None]))


def _clients_tool(raw: msgspec.Raw, notes: Notes, known: frozenset[str] = CLIENTS) -> msgspec.Raw | None:
    if without_disguised(raw, TOOL_MEMBERS) is not raw:
        notes.leave_out("tools", "")
        return None
    try:
        tool = _read_tool(raw)
    except msgspec.MsgspecError:
        return raw  # malformed: upstream says so
    if tool.type == "namespace" and known is CLIENTS:
        kept = _filtered(tool.tools, lambda one: _clients_tool(one, notes, IN_NAMESPACES))
        if kept is tool.tools:
            return raw
        named = {**_read_members(raw), "tools": kept}
        return None if bytes(kept) == b"[]" else msgspec.Raw(msgspec.json.encode(named))
    if tool.type in known or (known is CLIENTS and _runs_at_clients(tool)):
        return raw
    notes.leave_out("tools", tool.type or "")
    return None


def _runs_at_clients(tool: Tool) -> bool:
    match tool.type:
        case None:
            return isinstance(tool.name, str)
        case "shell":
            there = tool.environment
            return there is None or (isinstance(there, dict) and bool(there.get("type") == "local"))
        case "tool_search":
            return bool(tool.execution == "client")
    return False


def _keep_choice(kept: Fields) -> None:
    """Drops a choice of a tool that is gone."""
    try:
        choice = _read_members(kept.get("tool_choice", NULL))
    except msgspec.MsgspecError:
        return  # a word
    kind = str(decoded(choice.get("type")))
    if kind == "allowed_tools":
        choice["tools"] = clients_tools(choice.get("tools", NULL), Notes())
        kept["tool_choice"] = msgspec.Raw(msgspec.json.encode(choice))
    elif kind not in CLIENTS | {"shell"}:
        del kept["tool_choice"]


def _sendable(items: msgspec.Raw, notes: Notes) -> msgspec.Raw:
    """`input` without reasoning that upstream would look for among what it has stored, and without tools that it would
    run."""
    written = bytes(items)
    lowered = written.lower()
    if not (
        any(kind in written for kind in LOOKED_INTO)
        or any(lowered.count(name) != written.count(name) for name in (b'"type"', b'"tools"'))
        or UNUSUAL_LETTERS.search(written)
    ):
        return items
    return _filtered(items, lambda item: _sendable_item(item, notes))


def _sendable_item(raw: msgspec.Raw, notes: Notes) -> msgspec.Raw | None:
    raw = without_disguised(raw, ITEM_MEMBERS)
    try:
        item = _read_item(raw)
    except msgspec.MsgspecError:
        return raw
    is_empty = item.content == NULL and item.encrypted_content == NULL
    if is_lost_thought(item.type, item.id) or (item.type == "reasoning" and is_empty):
        notes.leave_out("input", "reasoning")
        return None
    if item.type == "additional_tools":
        tools = clients_tools(item.tools, notes)
        if tools is not item.tools:
            return msgspec.Raw(msgspec.json.encode({**_read_members(raw), "tools": tools}))
    return raw
