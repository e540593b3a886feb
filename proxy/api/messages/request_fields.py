"""What of a Messages body no upstream gets, beside what chat's do not: other names of the cap, who serves, what it
costs, prompts that are kept upstream, and tools that run there. Pure.

Sources: the reference of the Messages API and anthropic-sdk-python 2.14, types/beta/message_create_params.py.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from proxy.catalogue.request_fields import LEFT_OUT, has_disguised_type, is_disguised
from proxy.http.parsing import Fields

NOT_SENT = LEFT_OUT | {
    # of chat, which an engine that translates for itself might obey
    "max_completion_tokens", "n", "stream_options", "functions", "function_call",
    # what it costs, and for whom
    "inference_geo", "billing_policy", "fallback_credit_token", "workspace_id", "user_profile_id",
    # prompts kept upstream; a second answer that sums the first prompt up
    "thread", "compaction",
}  # fmt: skip
_FOLDED = frozenset(name.casefold() for name in (*NOT_SENT, "system", "tool_choice", "context_management"))
# Tools that the client carries out, by how their types begin: the model has been taught their schemas.
CLIENT_TYPES = ("bash_", "text_editor_", "computer_", "memory_", "browser_")
# What upstream writes into the prompt for one of these (computer use: 735 tokens, a set of 17 tools: some thousands).
TAUGHT_TOKENS = 1_024
TAUGHT_SET_TOKENS = 8_192
TOOL_SEARCH = "tool_search_tool_"
SUMMARY = "compact"


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None
    name: Any = None


_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_tool = msgspec.json.Decoder(_Tool).decode
_read_members = msgspec.json.Decoder(Fields).decode
NOT_IN_HEADERS = re.compile(r"[^ -+\--~]")  # a comma stands between names


def for_upstreams(fields: Fields) -> tuple[Fields, list[str]]:
    """The fields that an upstream of this protocol gets, as they were written; and the names of what it does not."""
    kept: Fields = {}
    left_out = []
    for name, value in fields.items():
        folded = name.casefold()
        if name in NOT_SENT or is_disguised(name) or (folded != name and folded in _FOLDED):
            left_out.append(name)
        else:
            kept[name] = value
    if "tools" in kept:
        _reduce_tools(kept, left_out)
    if "context_management" in kept:
        _reduce_context_management(kept, left_out)
    return kept, left_out


def taught_tokens(tools: msgspec.Raw) -> int:
    """What upstream adds to a prompt for tools whose schemas it knows itself."""
    kinds = [tool.type for _raw, tool in _tools(tools) if tool is not None and tool.type]
    return sum(
        TAUGHT_SET_TOKENS if "_toolset_" in kind else TAUGHT_TOKENS
        for kind in kinds
        if kind.startswith(CLIENT_TYPES)
    )


def _tools(tools: msgspec.Raw) -> list[tuple[msgspec.Raw, _Tool | None]]:
    """Each with what it is; None for what cannot be read, of which upstream tells."""
    try:
        every = _read_list(tools)
    except msgspec.MsgspecError:
        return []
    found: list[tuple[msgspec.Raw, _Tool | None]] = []
    for raw in every:
        try:
            found.append((raw, _read_tool(raw)))
        except msgspec.MsgspecError:
            found.append((raw, None))
    return found


def _is_clients(raw: msgspec.Raw, tool: _Tool | None) -> bool:
    if has_disguised_type(raw):
        return False
    return tool is None or tool.type in {None, "custom"} or str(tool.type).startswith(CLIENT_TYPES)


def _reduce_tools(fields: Fields, left_out: list[str]) -> None:
    """Without tools that upstream would run. What was to be found by one of them is at hand then."""
    tools = _tools(fields["tools"])
    kept = [raw for raw, tool in tools if _is_clients(raw, tool)]
    if len(kept) == len(tools):
        return
    gone = [tool for raw, tool in tools if tool and not _is_clients(raw, tool)]
    left_out += [f"tools.{tool.type}" for tool in gone]
    if any(str(tool.type).startswith(TOOL_SEARCH) for tool in gone):
        kept = [_without_member(raw, "defer_loading") for raw in kept]
    if kept:
        fields["tools"] = msgspec.Raw(msgspec.json.encode(kept))
    else:
        del fields["tools"]
    names = [tool.name for tool in gone]
    if "tool_choice" in fields and (not kept or _named(fields["tool_choice"]) in names):
        del fields["tool_choice"]
        left_out.append("tool_choice")


def _named(choice: msgspec.Raw) -> Any:
    try:
        return _read_tool(choice).name or ""
    except msgspec.MsgspecError:
        return ""


def _reduce_context_management(fields: Fields, left_out: list[str]) -> None:
    try:
        members = _read_members(fields["context_management"])
        edits = _read_list(members["edits"])
    except (msgspec.MsgspecError, KeyError):
        return
    kept = [raw for raw in edits if not _kind(raw).startswith(SUMMARY)]
    if len(kept) < len(edits):
        members["edits"] = msgspec.Raw(msgspec.json.encode(kept))
        fields["context_management"] = msgspec.Raw(msgspec.json.encode(members))
        left_out.append(f"context_management.edits.{SUMMARY}")


def _kind(raw: msgspec.Raw) -> str:
    try:
        return _read_tool(raw).type or ""
    except msgspec.MsgspecError:
        return ""


def _without_member(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    members = _read_members(raw)
    if members.pop(name, None) is None:
        return raw
    return msgspec.Raw(msgspec.json.encode(members))


def names_for_header(names: Iterable[str], *, most: int = 20) -> list[str]:
    """Names that a header can carry, each once; those beyond `most` as their number."""
    plain = list(dict.fromkeys(NOT_IN_HEADERS.sub("", name)[:80] or "?" for name in names))
    return plain if len(plain) <= most else [*plain[:most], f"{len(plain) - most} more"]
