"""A response as far as its events have told it, and what is said of it where it does not come to its own end. Pure."""

from dataclasses import dataclass, field
from typing import Any

from proxy.api.chat_completions.answers import encode
from proxy.api.responses.said import Key, Place

LENGTH = {"reason": "max_output_tokens"}


@dataclass(slots=True)
class Unfinished:
    """`response`: as it began; `sequence`: the number of the last event."""

    response: dict[str, Any] | None = None
    sequence: int = -1
    _by_index: dict[int, Key] = field(default_factory=dict)
    _order: dict[Key, None] = field(default_factory=dict)
    _open: dict[Key, dict[str, Any]] = field(default_factory=dict)
    _ended: dict[Key, dict[str, Any]] = field(default_factory=dict)
    _texts: dict[Place, list[str]] = field(default_factory=dict)
    _lengths: dict[Place, int] = field(default_factory=dict)

    def key(self, item_id: Any, index: Any) -> Key:
        """Of an item by its id or its place in the output. Some engines tell but one of them (llama.cpp the id), and
        some others make new ids on the way."""
        named = isinstance(item_id, str) and bool(item_id)
        if named and item_id in self._order:
            return str(item_id)
        if not isinstance(index, int):
            index = len(self._by_index) if named else max(len(self._by_index) - 1, 0)
        if index not in self._by_index:
            key = self._by_index[index] = str(item_id) if named else index
            self._order[key] = None
        return self._by_index[index]

    def see(self, kind: str, key: Key, item: dict[str, Any]) -> None:
        if kind == "response.output_item.added":
            self._open[key] = item
        elif kind == "response.output_item.done":
            self._open.pop(key, None)
            self._ended[key] = item

    def length(self, place: Place) -> int:
        return self._lengths.get(place, 0)

    def hear(self, place: Place, text: str) -> None:
        self._lengths[place] = self._lengths.get(place, 0) + len(text)
        self._texts.setdefault(place, []).append(text)

    def last_events(self, *, usage: dict[str, Any], error: dict[str, Any] | None) -> bytes:
        """Its end for want of length; `error`: why it was not allowed to go on."""
        events, output = b"", list[dict[str, Any]]()
        for key in self._order:
            if key in self._open:
                item = self._so_far(key, self._open[key])
                if "call_id" not in item:  # agents carry out what is done
                    events += self._event("response.output_item.done", output_index=len(output), item=item)
                output.append(item)
            elif key in self._ended:
                output.append(self._ended[key])
        status = "failed" if error else "incomplete"
        response = {
            **(self.response or {}),
            "status": status,
            "error": error,
            "incomplete_details": None if error else LENGTH,
            "output": output,
            "usage": usage,
        }
        return events + self._event(f"response.{status}", response=response)

    def failed(self, error: dict[str, Any]) -> bytes:
        """The last event of one that is not paid for."""
        output = [self._ended[key] for key in self._order if key in self._ended]
        response = {**(self.response or {}), "status": "failed", "error": error, "output": output}
        return self._event("response.failed", response=response)

    def _so_far(self, key: Key, item: dict[str, Any]) -> dict[str, Any]:
        found = {where: "".join(said) for (of, where), said in self._texts.items() if of == key}
        texts = [text for where, text in found.items() if where.isdecimal()]
        so_far = {**item, "status": "incomplete"}
        if item.get("type") == "message":
            so_far["content"] = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
        elif item.get("type") == "reasoning":
            summary = [text for where, text in found.items() if where.startswith("summary")]
            so_far["summary"] = [{"type": "summary_text", "text": text} for text in summary]
            if texts:
                so_far["content"] = [{"type": "reasoning_text", "text": text} for text in texts]
        return so_far | {name: found[name] for name in ("arguments", "input") if name in found}

    def _event(self, kind: str, **members: Any) -> bytes:
        self.sequence += 1
        data = encode({"type": kind, "sequence_number": self.sequence, **members})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
