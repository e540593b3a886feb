"""Gives answers of upstreams the form that OpenAI's SDKs expect. Pure."""

from dataclasses import dataclass, field
from typing import Any

from proxy.catalogue.quirks import dicts


@dataclass(slots=True)
class ChunkRepairs:
    """Gives a stream's chunks the form that OpenAI's SDKs can put together again.

    Gemini's endpoint leaves `index` out of tool deltas, or repeats one for calls side by side; may end an answer that
    makes calls with `stop`; and gives every delta a `role`, which SDKs string together. One object sees all chunks
    of one answer.
    """

    _calls: dict[Any, list[Any]] = field(default_factory=dict)  # ids of the calls so far, in order, by choice

    def repair(self, chunk: dict[str, Any]) -> bool:
        """Repairs a decoded chunk in place; false where nothing was to be done."""
        repaired = False
        for choice in dicts(chunk.get("choices")):
            number = choice.get("index") if isinstance(choice.get("index"), int) else 0
            delta = choice.get("delta")
            if isinstance(delta, dict):
                if number in self._calls and delta.pop("role", None) is not None:
                    repaired = True
                calls = self._calls.setdefault(number, [])
                for call in dicts(delta.get("tool_calls")):
                    repaired |= _number(call, calls)
            if choice.get("finish_reason") == "stop" and self._calls.get(number):
                choice["finish_reason"] = "tool_calls"
                repaired = True
        return repaired


def repair_whole(answer: dict[str, Any]) -> None:
    """Repairs a decoded whole answer in place."""
    for choice in dicts(answer.get("choices")):
        message = choice.get("message")
        if choice.get("finish_reason") == "stop" and isinstance(message, dict) and message.get("tool_calls"):
            choice["finish_reason"] = "tool_calls"


def _number(call: dict[str, Any], ids: list[Any]) -> bool:
    """Numbers one delta of a call: by its id, else by the number it came with, else as more of the last call."""
    given, call_id, function = call.get("index"), call.get("id"), call.get("function")
    named = bool(function.get("name")) if isinstance(function, dict) else False
    if call_id and call_id in ids:
        number = ids.index(call_id)
    elif call_id or named or not ids:
        number = len(ids)
        ids.append(call_id)
    else:
        number = given if isinstance(given, int) and 0 <= given < len(ids) else len(ids) - 1
    if given == number:
        return False
    call["index"] = number
    return True
