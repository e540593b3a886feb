"""What of an upstream's response object a customer sees: its model by the name that was asked for, nothing of what it
costs the operator, the rest as it came. Pure."""

from typing import Any

import msgspec

from proxy.api.chat_completions.answers import edited
from proxy.metering import purchase

# The answer itself, and what is the client's own: a tool of a client may well have a parameter called price.
NOT_SEARCHED = frozenset(
    {"output", "usage", "input", "instructions", "metadata", "prompt", "text", "tool_choice", "tools"}
)
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def response(written: bytes, decoded: dict[str, Any], *, model: str, usage: dict[str, Any] | None) -> bytes:
    """`usage`: None where it is not known yet. Raises BadAnswer."""
    return edited(written, decoded, _changes(decoded, model=model, usage=usage))


def without_price(decoded: dict[str, Any]) -> dict[str, Any]:
    """What to change beside an event's item or response."""
    changes = purchase.changes(
        {name: one for name, one in decoded.items() if name not in {"item", "response"}}
    )
    if isinstance(used := decoded.get("usage"), dict) and (kept := purchase.without(used)) != used:
        changes["usage"] = kept
    return changes


def event(data: bytes, decoded: dict[str, Any], *, model: str, usage: dict[str, Any] | None = None) -> bytes:
    """The data of an event that carries a response. Raises BadAnswer."""
    inner = decoded["response"]
    changes = without_price(decoded)
    try:
        members = _read_members(data)
        within = response(bytes(members["response"]), inner, model=model, usage=usage)
    except (msgspec.DecodeError, RecursionError):  # half a surrogate
        changed = {**inner, **_changes(inner, model=model, usage=usage)}
        changes["response"] = {name: one for name, one in changed.items() if one is not ...}
        return edited(data, decoded, changes)
    members["response"] = msgspec.Raw(within)
    return edited(msgspec.json.encode(members), decoded, changes) if changes else msgspec.json.encode(members)


def _changes(decoded: dict[str, Any], *, model: str, usage: dict[str, Any] | None) -> dict[str, Any]:
    changes = purchase.changes({name: one for name, one in decoded.items() if name not in NOT_SEARCHED})
    if decoded.get("model") is not None:
        changes["model"] = model
    if usage is not None or decoded.get("usage") is not None:
        changes["usage"] = usage
    return changes
